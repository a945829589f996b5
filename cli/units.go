package cli

import (
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"strconv"
	"strings"
)

// bytesFlag is a size: 64MB, 256MiB, 1GB, 4096.
type bytesFlag int64

var byteUnits = []struct {
	name string
	size int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1}, {"", 1}}

// UnmarshalText reads a size.
func (b *bytesFlag) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	for _, u := range byteUnits {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(f >= 0 && f*float64(u.size) <= math.MaxInt32*1024) {
			break
		}
		*b = bytesFlag(f * float64(u.size))
		return nil
	}
	return fmt.Errorf("%q is no size: write 64MB, 256MiB or a number of bytes", s)
}

// limitRuntime sets the Go runtime's soft memory limit to one and a half times
// the size, unless GOMEMLIMIT does.
func (b bytesFlag) limitRuntime() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(int64(b) + int64(b)/2)
	}
}

// levelFlag is a level of log messages.
type levelFlag slog.Level

// UnmarshalText reads a level.
func (l *levelFlag) UnmarshalText(text []byte) error {
	if err := (*slog.Level)(l).UnmarshalText(text); err != nil {
		return fmt.Errorf("%q is no level: write debug, info, warn or error", text)
	}
	return nil
}

// percentFlag is a share: 1%, 0.01.
type percentFlag float64

// UnmarshalText reads a share.
func (p *percentFlag) UnmarshalText(text []byte) error {
	number, percent := strings.CutSuffix(strings.TrimSpace(string(text)), "%")
	f, err := strconv.ParseFloat(number, 64)
	if percent {
		f /= 100
	}
	if err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("%q is no share: write 1%% or 0.01", text)
	}
	*p = percentFlag(f)
	return nil
}

// bytesText is a size for people.
func bytesText(n int64) string {
	switch {
	case n >= 1e12:
		return fmt.Sprintf("%.1f TB", float64(n)/1e12)
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}

// countText is a number for people, with commas between thousands.
func countText(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural is a number with its noun.
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "y") {
		return countText(n) + " " + strings.TrimSuffix(noun, "y") + "ies"
	}
	return countText(n) + " " + noun + "s"
}
