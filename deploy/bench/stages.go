package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// stage is a part of the way of the data, by the functions that are on the
// stack when it is at work. A sample counts for the first stage that matches.
type stage struct {
	name  string
	focus string
}

var stageList = []stage{
	{"embedded broker", `kfake`},
	{"encode", `lakefeed/sink\.`},
	{"fetch", `broker\.\(\*(Client\)\.[fF]etch|Fetch\))`},
	{"convert", `lakefeed/consumer\.`},
	{"produce", `broker\.\(\*(Client\)\.Produce|Client\)\.produce|Batch\))|producer\.\(\*Producer\)\.send`},
	{"split", `lakefeed/schema/csv\.`},
	{"message", `lakefeed/producer\.`},
	{"garbage collection", `runtime\.gcBgMarkWorker|runtime\.bgsweep|runtime\.bgscavenge`},
}

// stages profiles one run and shows how its CPU time falls on the stages.
func (b *bench) stages(ctx context.Context, source string) error {
	profile := filepath.Join(b.dir, "cpu.pprof")
	if _, err := b.ingest(ctx, source, "--cpu-profile", profile); err != nil {
		return err
	}
	all, err := b.seconds(ctx, profile)
	if err != nil || all == 0 {
		return err
	}
	fmt.Fprintf(b.out, "| | | *of which* ")
	var before []string
	rest := all
	for _, s := range stageList {
		args := []string{"-focus=" + s.focus}
		if len(before) > 0 {
			args = append(args, "-ignore="+strings.Join(before, "|"))
		}
		seconds, err := b.seconds(ctx, profile, args...)
		if err != nil {
			return err
		}
		before = append(before, s.focus)
		rest -= seconds
		fmt.Fprintf(b.out, "%s %.0f %%, ", s.name, 100*seconds/all)
	}
	fmt.Fprintf(b.out, "other %.0f %% | | | | | | |\n", 100*max(0, rest)/all)
	return nil
}

// seconds are those of a profile's samples that a filter leaves.
func (b *bench) seconds(ctx context.Context, profile string, filter ...string) (float64, error) {
	args := append([]string{"tool", "pprof", "-top", "-nodecount=1000000", "-nodefraction=0", "-edgefraction=0"}, filter...)
	out, err := exec.CommandContext(ctx, "go", append(args, b.binary, profile)...).CombinedOutput()
	if err != nil {
		if strings.Contains(string(out), "focus expression matched no samples") || strings.Contains(string(out), "no matches") {
			return 0, nil
		}
		return 0, fmt.Errorf("go tool pprof: %w\n%s", err, out)
	}
	total := 0.0
	for line := range strings.Lines(string(out)) {
		// flat  flat%  sum%  cum  cum%  name: the flat times add up.
		f := strings.Fields(line)
		if len(f) < 6 || !strings.HasSuffix(f[1], "%") || !strings.HasSuffix(f[4], "%") {
			continue
		}
		seconds, err := duration(f[0])
		if err != nil {
			return 0, err
		}
		total += seconds
	}
	return total, nil
}

func duration(text string) (float64, error) {
	for _, u := range []struct {
		suffix string
		size   float64
	}{{"ms", 1e-3}, {"mins", 60}, {"us", 1e-6}, {"s", 1}, {"hrs", 3600}} {
		if number, ok := strings.CutSuffix(text, u.suffix); ok {
			f, err := strconv.ParseFloat(number, 64)
			return f * u.size, err
		}
	}
	return strconv.ParseFloat(text, 64)
}
