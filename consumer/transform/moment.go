package transform

import (
	"time"

	"github.com/expr-lang/expr/ast"

	"lakefeed/schema"
)

// timeFunctions are those of dates and timestamps.
func timeFunctions(wholes func(*compiler, string, []*node)) map[string]function {
	part := func(name string, of func(days, millis int64) int64) function {
		return function{"a date or a timestamp, and a time zone for an instant", 1, 2, func(c *compiler, n ast.Node, raw []ast.Node, x []*node) *node {
			return each(kind(schema.Bigint), c.wallClock(name, raw, x), func(out, a *block, i int) {
				days := floorDiv(a.ints[i], dayMillis)
				out.ints[i] = of(days, a.ints[i]-days*dayMillis)
			})
		}}
	}
	adder := func(name string, unit int64) function {
		return function{"a timestamp and a count", 2, 2, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node {
			wholes(c, name, x[1:])
			if x[0].typ.Kind == schema.Date && unit == dayMillis {
				return both(kind(schema.Date), x[0], x[1], func(out, a, b *block, i int) { out.moment(i, a.ints[i], b.ints[i], 1, firstDay, lastDay) })
			}
			c.want(x[0], name, schema.Timestamp, schema.Date)
			t := schema.Type{Kind: schema.Timestamp, Zoned: x[0].typ.Zoned}
			return both(t, c.as(x[0], t), x[1], func(out, a, b *block, i int) {
				out.moment(i, a.ints[i], b.ints[i], unit, firstMilli, lastMilli)
			})
		}}
	}
	return map[string]function{
		"year":        part("year", func(d, _ int64) int64 { y, _, _ := civil(d); return y }),
		"month":       part("month", func(d, _ int64) int64 { _, m, _ := civil(d); return m }),
		"day":         part("day", func(d, _ int64) int64 { _, _, x := civil(d); return x }),
		"hour":        part("hour", func(_, ms int64) int64 { return ms / 3600_000 }),
		"minute":      part("minute", func(_, ms int64) int64 { return ms / 60_000 % 60 }),
		"second":      part("second", func(_, ms int64) int64 { return ms / 1000 % 60 }),
		"weekday":     part("weekday", func(d, _ int64) int64 { return floorMod(d+3, 7) + 1 }), // 1 is Monday
		"add_days":    adder("add_days", dayMillis),
		"add_hours":   adder("add_hours", 3600_000),
		"add_minutes": adder("add_minutes", 60_000),
		"add_seconds": adder("add_seconds", 1000),
		"seconds_between": {"two timestamps", 2, 2, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node {
			c.want(x[0], "seconds_between", schema.Timestamp, schema.Date)
			c.want(x[1], "seconds_between", schema.Timestamp, schema.Date)
			a, b, t := c.alike(n, "seconds_between", x[0], x[1])
			unit := int64(1)
			if t.Kind == schema.Date {
				unit = dayMillis
			}
			return both(kind(schema.Bigint), a, b, func(out, a, b *block, i int) { out.ints[i] = floorDiv((b.ints[i]-a.ints[i])*unit, 1000) })
		}},
		"in_zone": {"a timestamp with time zone, and a time zone", 2, 2, func(c *compiler, n ast.Node, raw []ast.Node, x []*node) *node {
			if x[0].typ.Kind != schema.Unknown && (x[0].typ.Kind != schema.Timestamp || !x[0].typ.Zoned) {
				c.failAt(x[0].at, "", "in_zone takes a timestamp with time zone, and this is %s", x[0].typ)
			}
			return c.inZone(x[0], c.zone(raw[1]))
		}},
		"date": {"a date's year, month and day, or a timestamp and its time zone, or a text", 1, 3, func(c *compiler, n ast.Node, raw []ast.Node, x []*node) *node {
			if len(x) == 3 {
				wholes(c, "date", x)
				return many(kind(schema.Date), x, func(out *block, in []*block, i int) {
					days, ok := daysOf(in[0].ints[i], in[1].ints[i], in[2].ints[i])
					if out.ints[i] = days; !ok {
						out.fail(i, "there is no such date")
					}
				})
			}
			if len(x) == 1 && (x[0].typ.Kind == schema.String || x[0].typ.Kind == schema.Date) {
				return c.convert(n, x[0], kind(schema.Date))
			}
			return each(kind(schema.Date), c.wallClock("date", raw, x), func(out, a *block, i int) { out.ints[i] = floorDiv(a.ints[i], dayMillis) })
		}},
		"timestamp": {"a year, month, day, hour, minute and second, or a date, or a text", 1, 6, func(c *compiler, n ast.Node, raw []ast.Node, x []*node) *node {
			t := kind(schema.Timestamp)
			switch {
			case len(x) == 1 && x[0].typ.Kind == schema.Timestamp:
				return x[0]
			case len(x) == 1:
				c.want(x[0], "timestamp", schema.Date, schema.String)
				return c.convert(n, x[0], t)
			case len(x) < 5:
				c.fail(n, "", "timestamp takes a year, month, day, hour, minute and second, or a date, or a text")
			}
			wholes(c, "timestamp", x)
			return many(t, x, func(out *block, in []*block, i int) {
				days, ok := daysOf(in[0].ints[i], in[1].ints[i], in[2].ints[i])
				hour, minute, second := in[3].ints[i], in[4].ints[i], int64(0)
				if len(in) == 6 {
					second = in[5].ints[i]
				}
				if !ok || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
					out.fail(i, "there is no such time")
					return
				}
				out.ints[i] = days*dayMillis + hour*3600_000 + minute*60_000 + second*1000
			})
		}},
	}
}

// wallClock gives a date or timestamp as milliseconds of a wall clock; an instant's in
// the zone that is named beside it, else in UTC.
func (c *compiler) wallClock(name string, raw []ast.Node, x []*node) *node {
	c.want(x[0], name, schema.Timestamp, schema.Date)
	if len(x) == 2 {
		z := c.zone(raw[1])
		if x[0].typ.Kind != schema.Unknown && !x[0].typ.Zoned {
			c.failAt(x[0].at, "leave the time zone out", "only an instant is in a time zone, and this is %s", x[0].typ)
		}
		return c.inZone(x[0], z)
	}
	if x[0].typ.Kind == schema.Date {
		return c.as(x[0], kind(schema.Timestamp))
	}
	return x[0]
}

func (c *compiler) inZone(x *node, z *time.Location) *node {
	return each(kind(schema.Timestamp), x, func(out, a *block, i int) { out.ints[i] = inZone(a.ints[i], z) })
}

// inZone is the wall clock of an instant.
func inZone(millis int64, z *time.Location) int64 {
	_, offset := time.UnixMilli(millis).In(z).Zone()
	return millis + int64(offset)*1000
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func floorMod(a, b int64) int64 { return a - floorDiv(a, b)*b }

// civil is the date of days since 1970-01-01.
func civil(days int64) (year, month, day int64) {
	// Days of the 400 years that begin on 1 March, of which leap days are the last.
	days += 719468
	era := floorDiv(days, 146097)
	doe := days - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = doy - (153*mp+2)/5 + 1
	month = mp + 3
	if month > 12 {
		month -= 12
	}
	year = yoe + era*400
	if month <= 2 {
		year++
	}
	return year, month, day
}

// daysOf are the days since 1970-01-01 of a date; ok is false if there is no such one.
func daysOf(year, month, day int64) (days int64, ok bool) {
	if year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31 {
		return 0, false
	}
	y, mp := year, month-3
	if month <= 2 {
		y, mp = year-1, month+9
	}
	era := floorDiv(y, 400)
	yoe := y - era*400
	doe := yoe*365 + yoe/4 - yoe/100 + (153*mp+2)/5 + day - 1
	days = era*146097 + doe - 719468
	_, m, d := civil(days)
	return days, m == month && d == day
}
