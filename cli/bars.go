package cli

import (
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"lakefeed/producer"
)

// bars draws a bar for each source of known size that is being sent, and two lines
// with the totals below them. It draws no colours.
type bars struct {
	progress *mpb.Progress
	totals   []*mpb.Bar
	now      atomic.Pointer[standing] // read by the goroutine that draws
	sources  map[string]*bar
}

// bar is that of one source.
type bar struct {
	*mpb.Bar
	rows atomic.Int64
}

// shownBars is how many sources have a bar at a time. The others are in the
// totals.
const shownBars = 8

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

func newBars(out io.Writer) *bars {
	b := &bars{sources: map[string]*bar{}}
	b.now.Store(&standing{})
	b.progress = mpb.New(mpb.WithOutput(out), mpb.WithWidth(80), mpb.WithRefreshRate(b.every()), mpb.WithAutoRefresh())
	// The totals stand last, whatever number of bars comes.
	for i, line := range []func(standing) string{standing.sent, func(s standing) string { return "  in the lake " + s.lake() }} {
		b.totals = append(b.totals, b.progress.New(1, mpb.NopStyle(), mpb.BarPriority(math.MaxInt32-1+i), mpb.PrependDecorators(decor.Any(func(decor.Statistics) string {
			return line(*b.now.Load())
		}))))
	}
	return b
}

func (b *bars) every() time.Duration { return 200 * time.Millisecond }

func (b *bars) sent(s producer.SentInfo) {
	own := b.sources[s.URI]
	if own == nil {
		if s.Size < 0 || len(b.sources) >= shownBars {
			return // there is no end to draw, or no room: the totals have it
		}
		own = b.add(s)
	}
	own.rows.Add(s.Rows)
	own.SetCurrent(s.Offset)
	if s.Offset >= s.Size {
		own.SetTotal(s.Offset, true)
		delete(b.sources, s.URI)
	}
}

// add makes a source's bar.
func (b *bars) add(s producer.SentInfo) *bar {
	own := &bar{}
	name := decor.Name(shortName(path.Base(objectName(s.URI))), decor.WC{W: 24, C: decor.DindentRight})
	rows := decor.Any(func(decor.Statistics) string { return " " + plural(own.rows.Load(), "row") })
	own.Bar = b.progress.New(s.Size, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(name), mpb.AppendDecorators(decor.Percentage(decor.WC{W: 5}), rows, decor.AverageETA(decor.ET_STYLE_GO, decor.WC{W: 7})))
	b.sources[s.URI] = own
	return own
}

// shortName cuts a name in its middle.
func shortName(name string) string {
	r := []rune(name)
	if len(r) <= 22 {
		return name
	}
	return string(r[:10]) + "…" + string(r[len(r)-11:])
}

func (b *bars) say(line string) { fmt.Fprintln(b.progress, line) }
func (b *bars) show(s standing) { b.now.Store(&s) }

// close takes the bars away: the summary comes in their place.
func (b *bars) close(standing) {
	for _, own := range b.sources {
		own.Abort(true)
	}
	for _, total := range b.totals {
		total.Abort(true)
	}
	b.progress.Wait()
}
