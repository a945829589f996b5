package schema

import "fmt"

// Format is how the text of a date or timestamp is written. A column keeps one:
// a cell written in another does not fit it.
type Format uint8

// The formats. T between date and time may also be a space; seconds and up to
// three digits of a fraction may be missing where the form has a time.
const (
	NoFormat      Format = iota
	ISO                  // 2006-01-02, 2006-01-02T15:04:05.000, with Z or +01:00 where zoned
	SlashYMD             // 2006/01/02
	SlashMDY             // 01/02/2006 or 1/2/2006
	SlashDMY             // 02/01/2006 or 2/1/2006
	SlashMDYShort        // 1/2/06
	SlashDMYShort        // 2/1/06
	DotDMY               // 02.01.2006
	DashDMY              // 02-01-2006
	DashMDY              // 01-02-2006
	formatCount
)

var formatNames = [formatCount]string{"", "iso", "y/m/d", "m/d/y", "d/m/y", "m/d/yy", "d/m/yy", "d.m.y", "d-m-y", "m-d-y"}

// String gives the format's name as it is stored and shown, "" for NoFormat.
func (f Format) String() string {
	if f < formatCount {
		return formatNames[f]
	}
	return fmt.Sprintf("format(%d)", uint8(f))
}

// ParseFormat reads what Format.String writes.
func ParseFormat(s string) (Format, error) {
	for f, n := range formatNames {
		if n == s {
			return Format(f), nil
		}
	}
	return NoFormat, fmt.Errorf("parse date format %q: unknown", s)
}
