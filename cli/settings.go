package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"lakefeed/cli/config"
	"lakefeed/consumer"
	"lakefeed/consumer/transform"
	"lakefeed/sink"
)

// Settings are all that a run of one feed is made from. Flags and lakefeed.yaml
// fill the same fields: the tags say how each names them.
type Settings struct {
	Lake
	Feed
	Kafka `embed:""`
	Topic `embed:""`
	CSV
	Send
	RawZone
	Sink
	Catalog
	Memory `embed:""`
	Listener
	// Sources are the feed's arguments or its source in the file.
	Sources []string `kong:"-"`

	broken error // what is wrong with the feed in the file: it is not run

	doc *config.Document // that the settings are from; nil for the command line's
}

// Feed are the flags that name a feed.
type Feed struct {
	Table      string `help:"Table to fill. Default: from the sources' names." placeholder:"NAME" yaml:"table"`
	SourceName string `help:"Name the sources' folder by this URI instead of its own, where mounts differ, or buckets that mirror each other." placeholder:"URI" yaml:"source_name"`
	Stream     string `help:"Name of the stream that standard input is, so that a second run goes on with it." placeholder:"NAME" yaml:"-"`
}

// Topic are the flags that say which topic a feed has.
type Topic struct {
	Topic      string `help:"Topic of the feed. Default: the table's name." placeholder:"NAME" yaml:"topic"`
	Partitions int    `help:"Topic partitions, when the topic is made. Default: 4, embedded 2." placeholder:"N" yaml:"partitions"`
	Replicas   int    `name:"replication" help:"Replication factor, when the topic is made. Default: the brokers' default." placeholder:"N" yaml:"replication"`
}

// Send are the flags that say how rows are sent.
type Send struct {
	Every bool  `name:"headers-every-message" help:"Write the row's headers on every message, for readers of other makes." yaml:"headers_every_message"`
	Pin   []int `help:"Send objects that nobody has begun yet to these topic partitions only, comma between, and so keep history out of the way of live rows. Default: all." placeholder:"N" yaml:"pin"`
}

// RawZone is the flag that asks for copies of what comes in.
type RawZone struct {
	Copy bool `name:"raw-zone" help:"Keep copies of the source objects with the lake's state, each before its rows are sent: rebuild takes from them what the topic no longer has." yaml:"raw_zone"`
}

// Sink are the flags that say how rows are written.
type Sink struct {
	PartitionBy []string   `help:"Partition the table by these, comma between: COLUMN; date, year, month, day or hour(COLUMN), of an instant also (COLUMN, ZONE); truncate(COLUMN, N). _ingested_at is when a row was sent." placeholder:"COLUMN" yaml:"partition_by"`
	Meta        bool       `help:"Add the columns _source, _row, _offset and _ingested_at." yaml:"meta"`
	Flush       Flush      `embed:"" prefix:"flush-" yaml:"flush"`
	Group       string     `help:"Consumer group. Default: lakefeed.TABLE." placeholder:"NAME" yaml:"group"`
	OnDataLoss  string     `help:"When the topic has lost rows that the lake needs: ${enum}. record writes down in the lake what is lost and goes on." enum:"halt,record" default:"halt" yaml:"on_data_loss"`
	Quarantine  Quarantine `embed:"" prefix:"quarantine-" yaml:"quarantine"`
	Messages    Messages   `embed:"" prefix:"messages-" yaml:"messages"`
	Schema      Contract   `embed:"" yaml:"schema"`
	// Transform are the steps that make records of rows.
	Transform transform.Spec `kong:"-" yaml:"transform"`
}

// Messages says what messages of other makes are.
type Messages struct {
	Format  string   `help:"What the values of messages are that lakefeed produce did not write: csv (one record with commas) or json (one object). Default: they go into quarantine." placeholder:"FORMAT" yaml:"format"`
	Columns []string `help:"Names of the cells of such CSV records, comma between. Default: column_1, column_2…" placeholder:"NAME" yaml:"columns"`
}

// messages are the consumer's, nil where nothing is said.
func (m *Messages) messages() (*consumer.Messages, error) {
	if m.Format == "" && len(m.Columns) == 0 {
		return nil, nil
	}
	out := &consumer.Messages{Format: m.Format, Columns: m.Columns}
	if err := out.Validate(); err != nil {
		return nil, &usageError{err.Error()}
	}
	return out, nil
}

// Flush says when a batch is committed.
type Flush struct {
	Size  bytesFlag     `help:"Commit after so many bytes of rows' text." default:"64MB" placeholder:"SIZE" yaml:"size"`
	Every time.Duration `help:"Commit after so long at the latest." default:"60s" yaml:"every"`
}

// Quarantine says how many rows may go there.
type Quarantine struct {
	MaxShare percentFlag `help:"Exit with 3 when more than this share of a run's rows went into quarantine." default:"1%" placeholder:"SHARE" yaml:"max_share"`
	MaxRows  *int64      `help:"Exit with 3 when more than so many rows of a run went into quarantine. Default: any number." placeholder:"N" yaml:"max_rows"`
	OnExceed string      `help:"When there are more: ${enum}. finish takes all rows in before the exit code says so, stop ends the feed with the batch that had too many, warn says so and exits with 0." enum:"finish,stop,warn" default:"finish" yaml:"on_exceed"`
}

// enoughRows is how many rows a run must have had before a share of them stops it.
const enoughRows = 1000

// exceeded says how a run has more rows in quarantine than it may, "" when it has not.
func (q *Quarantine) exceeded(rows, quarantined int64) string {
	all := rows + quarantined
	switch {
	case q.MaxRows != nil && quarantined > *q.MaxRows:
		return fmt.Sprintf("%s of %s went into quarantine, more than %s (--quarantine-max-rows)", countText(quarantined), plural(all, "row"), countText(*q.MaxRows))
	case all > 0 && float64(quarantined) > float64(q.MaxShare)*float64(all):
		return fmt.Sprintf("%s of %s went into quarantine, more than %g%% (--quarantine-max-share)", countText(quarantined), plural(all, "row"), 100*float64(q.MaxShare))
	}
	return ""
}

// stops says how a run that goes on has too many rows in quarantine already. A share
// of the first few rows says nothing.
func (q *Quarantine) stops(rows, quarantined int64) string {
	if q.OnExceed != "stop" || q.MaxRows == nil && rows+quarantined < enoughRows {
		return ""
	}
	if rows+quarantined < enoughRows {
		q = &Quarantine{MaxShare: 1, MaxRows: q.MaxRows}
	}
	return q.exceeded(rows, quarantined)
}

// Memory is the flag that bounds the process.
type Memory struct {
	Memory bytesFlag `help:"Bound of all buffers of the process." default:"256MiB" placeholder:"SIZE" yaml:"memory"`
}

func (s *Sink) shape() sink.Shape {
	return sink.Shape{PartitionBy: wholeTerms(s.PartitionBy), Meta: s.Meta}
}

// wholeTerms puts terms together again that were parted at the comma in their brackets.
func wholeTerms(parts []string) (out []string) {
	open := 0
	for _, part := range parts {
		if open > 0 {
			out[len(out)-1] += ", " + strings.TrimSpace(part)
		} else {
			out = append(out, part)
		}
		open = max(0, open+strings.Count(part, "(")-strings.Count(part, ")"))
	}
	return out
}

// group is the consumer group, for brokers that other processes use too.
func (s *Settings) group() string { return cmp.Or(s.Group, "lakefeed."+s.Table) }

// names fills in the table's and the topic's name and checks them.
func (s *Settings) names() (err error) {
	if s.Table == "" {
		if s.Table, err = tableName(s.Sources, isFolder); err != nil {
			return err
		}
	}
	if s.Topic.Topic == "" {
		s.Topic.Topic = s.Table
	}
	return errors.Join(checkTableName(s.Table), checkTopic(s.Topic.Topic))
}

// given has the fields, by pointer, that the command line or the environment set.
type given map[any]bool

// givenBy finds what a command line and the environment set.
func givenBy(k *kong.Context) given {
	out := given{}
	for _, step := range k.Path {
		if step.Flag != nil {
			out[step.Flag.Target.Addr().Interface()] = true
		}
	}
	for _, flag := range k.Flags() {
		for _, name := range flag.Envs {
			if _, ok := os.LookupEnv(name); ok {
				out[flag.Target.Addr().Interface()] = true
			}
		}
	}
	return out
}

// move takes what one struct's fields were given for those of a copy of it. Both are
// pointers.
func (g given) move(from given, was, is any) {
	a, b := reflect.ValueOf(was).Elem(), reflect.ValueOf(is).Elem()
	for i := range a.NumField() {
		if !a.Type().Field(i).IsExported() {
			continue
		}
		x, y := a.Field(i).Addr().Interface(), b.Field(i).Addr().Interface()
		if a.Field(i).Kind() == reflect.Struct {
			g.move(from, x, y)
		} else if from[x] {
			g[y] = true
		}
	}
}

// section is the part of v, at any depth, that has a type.
func section(v reflect.Value, t reflect.Type) (reflect.Value, bool) {
	if v.Type() == t {
		return v, true
	}
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Struct && v.Type().Field(i).IsExported() {
			if found, ok := section(f, t); ok {
				return found, true
			}
		}
	}
	return reflect.Value{}, false
}

// fill takes the sections that a command has, and over them what the files'
// sections have, except where the command line was given it.
func (s *Settings) fill(command any, g given, doc *config.Document, files ...any) {
	to := reflect.ValueOf(s).Elem()
	for i := range to.NumField() {
		if to.Field(i).Kind() != reflect.Struct {
			continue
		}
		flags, ok := section(reflect.ValueOf(command).Elem(), to.Field(i).Type())
		if ok {
			to.Field(i).Set(flags)
		} else {
			flags = reflect.New(to.Field(i).Type()).Elem()
		}
		for _, file := range files {
			if from, ok := section(reflect.ValueOf(file).Elem(), to.Field(i).Type()); ok {
				overlay(to.Field(i), flags, from, g, doc)
			}
		}
	}
}

// overlay gives to the fields that the file has, except where flags, the struct
// that the command line filled, was given them. Maps are joined, with the command
// line's entries before the file's.
func overlay(to, flags, file reflect.Value, g given, doc *config.Document) {
	for i := range to.NumField() {
		if to.Field(i).Kind() == reflect.Struct {
			overlay(to.Field(i), flags.Field(i), file.Field(i), g, doc)
			continue
		}
		if !doc.Has(file.Field(i).Addr().Interface()) {
			continue
		}
		switch explicit := g[flags.Field(i).Addr().Interface()]; {
		case !explicit:
			to.Field(i).Set(file.Field(i))
		case to.Field(i).Kind() == reflect.Map:
			joined := reflect.MakeMap(to.Field(i).Type())
			for _, m := range []reflect.Value{file.Field(i), flags.Field(i)} {
				for iter := m.MapRange(); iter.Next(); {
					joined.SetMapIndex(iter.Key(), iter.Value())
				}
			}
			to.Field(i).Set(joined)
		}
	}
}
