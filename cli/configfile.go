package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"lakefeed/broker"
	"lakefeed/cli/config"
	"lakefeed/consumer"
	"lakefeed/schema/spelling"
	"lakefeed/sink"
)

// defaultConfig is the file that is read where none is named.
const defaultConfig = "lakefeed.yaml"

// ConfigFile is the flag of commands that read lakefeed.yaml.
type ConfigFile struct {
	Config string `short:"c" help:"Read settings from this file; flags win over it. Default: lakefeed.yaml in the working folder, if it is there." placeholder:"FILE"`
}

// Feeds are the flags of commands that run the feeds of a file.
type Feeds struct {
	Config string   `short:"c" help:"Read settings and feeds from this file; flags win over it. Default: lakefeed.yaml in the working folder, unless a SOURCE or --table is given." placeholder:"FILE"`
	Only   []string `name:"feed" help:"Run these of the file's feeds, by their tables. Default: all." placeholder:"NAME"`
}

// fileSettings is what lakefeed.yaml has: deploy/docs/config.md.
type fileSettings struct {
	Lake     `yaml:",inline"`
	Kafka    `yaml:",inline"`
	Memory   `yaml:",inline"`
	Listener `yaml:",inline"`
	Catalog  Catalog        `yaml:"catalog"`
	Feeds    []feedSettings `yaml:"feeds"`

	doc     *config.Document
	without map[int]bool     // feeds that were passed over
	broken  map[string]error // of them, by their tables, what is wrong with each
}

// feedSettings is one entry of feeds.
type feedSettings struct {
	Feed    `yaml:",inline"`
	Source  []string `yaml:"source"`
	Topic   `yaml:",inline"`
	CSV     CSV `yaml:"csv"`
	Send    `yaml:",inline"`
	RawZone `yaml:",inline"`
	Sink    `yaml:",inline"`
	Tests   []feedTest `yaml:"tests"`
}

// read reads the file, or the one of the working folder where none is named and
// that one is there: else nil.
func (c *ConfigFile) read() (*fileSettings, error) {
	name, text, err := c.text()
	if name == "" || err != nil {
		return nil, err
	}
	return parseConfig(name, text)
}

// need reads the file of a command that does nothing without one.
func (c *ConfigFile) need() (*fileSettings, error) {
	f, err := c.read()
	if err == nil && f == nil {
		err = &usageError{"there is no " + defaultConfig + " here: name the file with -c FILE, or let lakefeed init SOURCE write it"}
	}
	return f, err
}

// text is the file's; its name is empty where there is none.
func (c *ConfigFile) text() (name string, text []byte, err error) {
	name = c.Config
	if name == "" {
		if _, err := os.Stat(defaultConfig); errors.Is(err, fs.ErrNotExist) {
			return "", nil, nil
		}
		name = defaultConfig
	}
	if text, err = os.ReadFile(name); err != nil {
		return name, nil, &usageError{"read the configuration: " + err.Error()}
	}
	return name, text, nil
}

// parseConfig reads a file's text and gives all its faults at once.
func parseConfig(name string, text []byte) (*fileSettings, error) {
	return parseConfigWithout(name, text, nil)
}

// parseConfigWithout passes over some feeds.
func parseConfigWithout(name string, text []byte, without map[int]bool) (*fileSettings, error) {
	f := &fileSettings{without: without}
	var elements []string
	for i := range without {
		elements = append(elements, fmt.Sprintf("feeds[%d]", i))
	}
	f.doc = config.DecodeWithout(name, text, f, elements...)
	f.check()
	if err := f.doc.Err(); err != nil {
		return nil, err
	}
	f.Lake.Lake, f.State, f.KafkaDir = f.path(f.Lake.Lake), f.path(f.State), f.path(f.KafkaDir)
	for i := range f.Feeds {
		for j, source := range f.Feeds[i].Source {
			f.Feeds[i].Source[j] = f.path(source)
		}
	}
	return f, nil
}

// path is a local path of the file, which is relative to the file's folder.
func (f *fileSettings) path(name string) string {
	if name == "" || strings.Contains(name, "://") || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(f.doc.Dir(), name)
}

// fill gives a command's sections what the file has for the lake and Kafka, for
// commands that work on a table and not on feeds: a fault in one of those is told by what
// runs them.
func (c *ConfigFile) fill(g *Globals, command any) error {
	f, err := c.readShared()
	if f == nil || err != nil {
		return err
	}
	for _, shared := range []reflect.Type{reflect.TypeFor[Lake](), reflect.TypeFor[Kafka](), reflect.TypeFor[Catalog]()} {
		if to, ok := section(reflect.ValueOf(command).Elem(), shared); ok {
			from, _ := section(reflect.ValueOf(f).Elem(), shared)
			overlay(to, to, from, g.given, f.doc)
		}
	}
	return nil
}

// settings are those of each feed to run: of one by the command line alone, where
// it names a source or a table, else of the file's. missing says what to name
// where there is neither.
func (c *Feeds) settings(g *Globals, command any, sources []string, named bool, missing string) (feeds []Settings, fromFile bool, err error) {
	var f *fileSettings
	if c.Config != "" || len(sources) == 0 && !named {
		if f, err = (&ConfigFile{c.Config}).readSound(); err != nil {
			return nil, false, err
		}
	}
	if f == nil {
		switch {
		case len(sources) == 0 && !named:
			return nil, false, &usageError{missing + ", or write the feeds into " + defaultConfig + " (-c FILE for one elsewhere)"}
		case len(c.Only) > 0:
			return nil, false, &usageError{"--feed picks a feed of a file, and no file is read here: add -c FILE"}
		}
		one := Settings{Sources: sources}
		one.fill(command, g.given, nil)
		return []Settings{one}, false, nil
	}
	chosen, err := f.choose(c.Only)
	if err != nil {
		return nil, false, err
	}
	if len(chosen) > 1 && (len(sources) > 0 || g.givenIdentity(command)) {
		return nil, false, &usageError{"SOURCE, --table, --topic, --group, --source-name and --stream are of one feed, and " + f.doc.Name() + " has " + plural(int64(len(chosen)), "feed") + " to run: pick one with --feed NAME"}
	}
	for _, feed := range chosen {
		s := Settings{Sources: feed.Source}
		if len(sources) > 0 {
			s.Sources = sources
		}
		s.fill(command, g.given, f.doc, f, feed)
		s.doc = f.doc
		feeds = append(feeds, s)
	}
	for _, name := range sortedKeys(f.broken) {
		if len(c.Only) == 0 || slices.Contains(c.Only, name) {
			feeds = append(feeds, Settings{Feed: Feed{Table: name}, broken: f.broken[name]})
		}
	}
	return feeds, true, nil
}

// choose are the feeds that are named, or all.
func (f *fileSettings) choose(names []string) (out []*feedSettings, err error) {
	var known []string
	for i := range f.Feeds {
		if f.without[i] {
			continue
		}
		known = append(known, f.Feeds[i].Table)
		if len(names) == 0 || slices.Contains(names, f.Feeds[i].Table) {
			out = append(out, &f.Feeds[i])
		}
	}
	for _, name := range names {
		if f.broken[name] == nil && !slices.Contains(known, name) {
			msg := "--feed " + name + ": " + f.doc.Name() + " has no such feed"
			if near := spelling.Nearest(name, known); near != "" {
				msg += "; did you mean " + near + "?"
			} else {
				msg += "."
			}
			return nil, &usageError{msg + " It has " + strings.Join(known, ", ")}
		}
	}
	return out, nil
}

// givenIdentity says whether the command line has a flag that is of one feed.
func (g *Globals) givenIdentity(command any) bool {
	var s Settings
	for _, of := range []any{&s.Feed, &s.Topic} {
		if v, ok := section(reflect.ValueOf(command).Elem(), reflect.TypeOf(of).Elem()); ok {
			for i := range v.NumField() {
				if p := v.Field(i).Addr().Interface(); g.given[p] && v.Type().Field(i).Type.Kind() == reflect.String {
					return true
				}
			}
		}
	}
	if v, ok := section(reflect.ValueOf(command).Elem(), reflect.TypeFor[Sink]()); ok {
		return g.given[&v.Addr().Interface().(*Sink).Group]
	}
	return false
}

// check adds the faults that the keys' types do not show.
func (f *fileSettings) check() {
	doc := f.doc
	f.checkKafka()
	if doc.Has(&f.Lake.Lake) && f.Lake.Lake == "" {
		doc.Fault(&f.Lake.Lake, "name a folder (. is that of this file) or s3://bucket/prefix, or leave it out for "+defaultLake, "lake is empty")
	}
	if glue := &f.Catalog.Glue; doc.Has(glue) {
		if glue.Database == "" {
			doc.Fault(glue, "add database: NAME", "catalog.glue names no database")
		}
		if !strings.HasPrefix(f.Lake.Lake, "s3://") {
			doc.Fault(glue, "put the lake on S3, lake: s3://bucket/prefix, or leave catalog out: a folder has a catalog file", "tables in Glue are on S3, and the lake is not")
		}
	}
	if !doc.Has(&f.Feeds) {
		doc.Fault(f, "add feeds: with a list of tables and their sources", "there are no feeds")
	} else if len(f.Feeds) == 0 {
		doc.Fault(&f.Feeds, "add an entry: - {table: sales, source: sales/*.csv}", "feeds is empty")
	}
	if doc.Has(&f.Memory.Memory) && f.Memory.Memory < minMemory {
		doc.Fault(&f.Memory.Memory, "", "memory is less than 16MiB, with which nothing can be read")
	}
	tables, senders := map[string]int{}, map[string]int{}
	for i := range f.Feeds {
		if f.without[i] {
			continue
		}
		feed := &f.Feeds[i]
		feed.check(doc)
		feed.checkTransform(doc, f.path)
		if feed.Table == "" {
			continue
		}
		if first, ok := tables[feed.Table]; ok {
			doc.Fault(&feed.Table, "a table has one feed; several sources of one table are a list: source: [a.csv, b.csv]", "table %s is filled by two feeds, the first in line %d", doc.Shown(&feed.Table, feed.Table), first)
		} else {
			tables[feed.Table] = doc.Line(&feed.Table)
		}
		if topic := feed.topicName(); len(feed.Source) > 0 {
			if first, ok := senders[topic]; ok {
				doc.Fault(&feed.Source, "give this feed a topic of its own, or leave its source out: then it takes what the other sends", "two feeds send to topic %s, the first in line %d", doc.Shown(&feed.Topic.Topic, topic), first)
			} else {
				senders[topic] = doc.Line(&feed.Source)
			}
		}
	}
}

// minMemory holds one fetch and its columns.
const minMemory = 16 << 20

func (f *feedSettings) topicName() string {
	if f.Topic.Topic != "" {
		return f.Topic.Topic
	}
	return f.Table
}

// checkKafka has the broker look at its settings.
func (f *fileSettings) checkKafka() {
	doc := f.doc
	if !doc.Has(&f.Kafka.Kafka) {
		return
	}
	if doc.Has(&f.KafkaDir) {
		doc.Fault(&f.KafkaDir, "leave one of them out", "kafka_dir is the log of the Kafka inside this process, and kafka: names brokers")
	}
	// The same settings with references in place of what these stand for, which may
	// be secret, say what is wrong with them.
	shown := f.Kafka.settings()
	for name, value := range shown.Properties {
		shown.Properties[name] = doc.EntryShown(&f.Kafka.Kafka, name, value)
	}
	said := map[string]error{}
	for _, fault := range propertyErrors(shown.Validate()) {
		said[fault.Property] = fault
	}
	for _, fault := range propertyErrors(f.Kafka.settings().Validate()) {
		if said[fault.Property] == nil {
			said[fault.Property] = fmt.Errorf("what %s stands for is not valid as %s", shown.Properties[fault.Property], fault.Property)
		}
		if _, ok := f.Kafka.Kafka[fault.Property]; !ok {
			doc.Fault(&f.Kafka.Kafka, "", "kafka: %v", said[fault.Property])
			continue
		}
		hint := ""
		if near := spelling.Nearest(fault.Property, broker.Properties()); near != "" && near != fault.Property {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		doc.EntryFault(&f.Kafka.Kafka, fault.Property, hint, "kafka: %v", said[fault.Property])
	}
}

// propertyErrors are the faults of single properties that were joined into err.
func propertyErrors(err error) (out []*broker.PropertyError) {
	if p, ok := err.(*broker.PropertyError); ok {
		return []*broker.PropertyError{p}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			out = append(out, propertyErrors(e)...)
		}
	}
	return out
}

func (f *feedSettings) check(doc *config.Document) {
	// What is wrong with a value is said of the reference that it came from.
	checked := func(p *string, check func(string) error) {
		err := check(*p)
		if e := check(doc.Shown(p, *p)); err != nil && e != nil {
			err = e
		}
		if err != nil {
			doc.Fault(p, "", "%v", err)
		}
	}
	switch {
	case !doc.Has(&f.Table):
		doc.Fault(f, "add table: NAME", "a feed without a table")
	case f.Table != "":
		checked(&f.Table, checkTableName)
	}
	if f.Topic.Topic != "" {
		checked(&f.Topic.Topic, checkTopic)
	}
	for i, source := range f.Source {
		switch source {
		case "":
			if doc.Has(&f.Source[i]) {
				doc.Fault(&f.Source[i], "name a file, a folder, a glob or an s3:// prefix", "an empty source")
			}
		case "-":
			doc.Fault(&f.Source[i], "name it on the command line: lakefeed ingest - --table NAME", "standard input cannot be a source here")
		}
	}
	for i := range f.PartitionBy {
		if term := f.PartitionBy[i]; strings.Contains(term, "(") && !strings.Contains(term, ")") && i+1 < len(f.PartitionBy) {
			doc.Fault(&f.PartitionBy[i], "write it in quotes: in a list in brackets a comma ends the entry, [\"truncate(name, 2)\"]", "partition by %s: its bracket does not close", quote(term))
			break // the next entry is its rest
		}
		before := f.PartitionBy[:i]
		checked(&f.PartitionBy[i], func(term string) error {
			_, err := sink.Shape{PartitionBy: append(slices.Clone(before), term)}.Sources()
			return err
		})
	}
	for _, n := range []struct {
		value *int
		key   string
	}{{&f.Partitions, "partitions"}, {&f.Replicas, "replication"}} {
		if doc.Has(n.value) && *n.value < 1 {
			doc.Fault(n.value, "leave it out for the default", "%s is less than 1", n.key)
		}
	}
	if doc.Has(&f.Flush.Size) && f.Flush.Size == 0 {
		doc.Fault(&f.Flush.Size, "leave it out for 64MB", "flush.size is 0: every row would be a file")
	}
	if doc.Has(&f.Flush.Every) && f.Flush.Every == 0 {
		doc.Fault(&f.Flush.Every, "leave it out for 60s", "flush.every is 0: every row would be a file")
	}
	if doc.Has(&f.OnDataLoss) && f.OnDataLoss != "halt" && f.OnDataLoss != "record" {
		doc.Fault(&f.OnDataLoss, "", "on_data_loss is halt or record, not %q", doc.Shown(&f.OnDataLoss, f.OnDataLoss))
	}
	if n := f.Quarantine.MaxRows; n != nil && *n < 0 {
		doc.Fault(&f.Quarantine.MaxRows, "write 0 to allow none", "quarantine.max_rows is less than 0")
	}
	if on := f.Quarantine.OnExceed; doc.Has(&f.Quarantine.OnExceed) && !slices.Contains(onExceed, on) {
		hint := "it is one of " + strings.Join(onExceed, ", ")
		if near := spelling.Nearest(on, onExceed); near != "" {
			hint = "did you mean " + near + "?"
		}
		doc.Fault(&f.Quarantine.OnExceed, hint, "quarantine.on_exceed %q is not known", doc.Shown(&f.Quarantine.OnExceed, on))
	}
	f.CSV.check(doc)
	f.Messages.check(doc)
	f.Schema.check(doc)
	f.checkTests(doc)
}

// onExceed are the values of quarantine.on_exceed.
var onExceed = []string{"finish", "stop", "warn"}

// check adds the faults of what messages of other makes are.
func (m *Messages) check(doc *config.Document) {
	formats := []string{consumer.CSVMessages, consumer.JSONMessages}
	switch {
	case !doc.Has(m):
	case !doc.Has(&m.Format):
		doc.Fault(m, "add format: csv, or json", "messages does not say what they are")
	case m.Format != "" && !slices.Contains(formats, m.Format):
		hint := "it is csv or json"
		if near := spelling.Nearest(m.Format, formats); near != "" {
			hint = "did you mean " + near + "?"
		}
		doc.Fault(&m.Format, hint, "messages.format %q is not known", doc.Shown(&m.Format, m.Format))
	case m.Format == consumer.JSONMessages && len(m.Columns) > 0:
		doc.Fault(&m.Columns, "leave columns out: each object names its cells", "messages.columns are of CSV records, and the format is json")
	}
	for i, name := range m.Columns {
		if name == "" && doc.Has(&m.Columns[i]) {
			doc.Fault(&m.Columns[i], "", "messages.columns[%d] is empty", i)
		}
	}
}
