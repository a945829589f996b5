package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"lakefeed/schema/fault"
)

// TableConfig says which table to open.
type TableConfig struct {
	Store      Store
	Name       string // safe name; that of its folder
	Feed       string
	Topic      string
	Partitions int // of the topic
	Shape      Shape
	Config     []byte // full text of the configuration, which records refer to
	Log        *slog.Logger
	Events     Events
}

// Shape is what all files of one build of a table have in common. It never
// changes within a build.
type Shape struct {
	PartitionBy []string `json:"partition_by,omitempty"` // columns
	Meta        bool     `json:"meta,omitempty"`         // columns _source, _row, _offset, _ingested_at
}

func (s Shape) equal(o Shape) bool {
	return s.Meta == o.Meta && slices.Equal(s.PartitionBy, o.PartitionBy)
}

func (s Shape) String() string {
	by, meta := "not partitioned", "without meta columns"
	if len(s.PartitionBy) > 0 {
		by = "partitioned by " + strings.Join(s.PartitionBy, ", ")
	}
	if s.Meta {
		meta = "with meta columns"
	}
	return by + ", " + meta
}

// ShapeError says that a table was built with another shape than is asked for.
type ShapeError struct {
	Table      string
	Have, Want Shape
}

func (e *ShapeError) Error() string {
	return fmt.Sprintf("open table %s: it is %s, and cannot become %s: all files of a table have one shape; go on with its shape, build it anew with lakefeed rebuild %s, or take the sources into another table", e.Table, e.Have, e.Want, e.Table)
}

// TopicError says that a table was built from other topics than the one given.
type TopicError struct {
	Table string
	Have  []string
	Want  string
}

func (e *TopicError) Error() string {
	return fmt.Sprintf("open table %s: it is built from topic %s, not from %s: rows of two topics are not compared with each other, and would be there twice; use another table for it", e.Table, strings.Join(e.Have, ", "), e.Want)
}

// Table is a table of a lake, opened to be written or read. It may be used by
// many goroutines; its chains by one each.
type Table struct {
	store      Store
	name       string
	topic      string
	lake       string
	generation int
	partitions int
	shape      Shape
	config     string // hash
	text       string // of the configuration
	log        *slog.Logger
	events     Events
	schemas    *SchemaLog

	now             func() time.Time
	sleep           func(context.Context, time.Duration) error
	checkpointEvery int64

	adopting sync.Mutex // AdoptLog of this process, one at a time

	registered cursors // of the catalog
}

// The objects of a table, all immutable and created if absent.
type (
	tableObject struct {
		V      int       `json:"v"`
		Lake   string    `json:"lake"`
		Feed   string    `json:"feed"`
		Topics []string  `json:"topics"`
		At     time.Time `json:"at"`
	}
	configObject struct {
		V    int    `json:"v"`
		Text string `json:"text"`
	}
)

// checkpointEvery is after how many records a chain gets a checkpoint.
const checkpointEvery = 256

// OpenTable opens a table, and makes it if it is new. Any number of processes
// may do so at once.
func OpenTable(ctx context.Context, c TableConfig) (*Table, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	t := newTable(c)
	if err := t.open(ctx, c); err != nil {
		return nil, err
	}
	return t, nil
}

func newTable(c TableConfig) *Table {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	t := &Table{
		store: c.Store, name: c.Name, topic: c.Topic, shape: c.Shape, generation: 1,
		log: c.Log, events: c.Events,
		now: time.Now, sleep: sleep, checkpointEvery: checkpointEvery,
	}
	t.configure(c.Config)
	t.schemas = &SchemaLog{table: t}
	return t
}

func (c *TableConfig) validate() error {
	var errs []error
	if c.Store == nil {
		errs = append(errs, errors.New("open table: no store"))
	}
	if c.Name == "" || strings.ContainsAny(c.Name, "/.\\") || strings.HasSuffix(c.Name, quarantineSuffix) {
		errs = append(errs, fmt.Errorf("open table %q: the name is not valid", c.Name))
	}
	if c.Topic == "" || c.Topic == "." || c.Topic == ".." || strings.ContainsAny(c.Topic, "/\\") || len(c.Topic) > 249 {
		errs = append(errs, fmt.Errorf("open table %s: topic name %q is not valid", c.Name, c.Topic))
	}
	if c.Partitions < 1 {
		errs = append(errs, fmt.Errorf("open table %s: topic %s has %d partitions", c.Name, c.Topic, c.Partitions))
	}
	return errors.Join(errs...)
}

// open reads the table's objects, and makes those that are not there.
func (t *Table) open(ctx context.Context, c TableConfig) error {
	err := t.openObjects(ctx, c)
	var shape *ShapeError
	var topic *TopicError
	var state *StateError
	if err == nil || errors.As(err, &shape) || errors.As(err, &topic) || errors.As(err, &state) {
		return err
	}
	return fmt.Errorf("open table %s in %s: %w", c.Name, c.Store, err)
}

func (t *Table) openObjects(ctx context.Context, c TableConfig) error {
	if err := CheckFiles(ctx, t.store, t.name); err != nil {
		return err
	}
	var table tableObject
	err := t.ensure(ctx, t.root()+"table.json", &table, tableObject{V: formatVersion, Lake: newAttempt(), Feed: c.Feed, Topics: []string{c.Topic}, At: t.now().UTC()})
	if err != nil {
		return err
	}
	if !slices.Contains(table.Topics, c.Topic) {
		return &TopicError{Table: c.Name, Have: table.Topics, Want: c.Topic}
	}
	t.lake = table.Lake

	// The newest outcome of a swap says which generation is live.
	swap, live, err := t.newestSwap(ctx)
	if err != nil {
		return err
	}
	if swap >= 0 {
		t.generation = live
	}
	first := buildObject{V: formatVersion, Shape: c.Shape, Config: t.config, Text: t.text, Purpose: purposeFirst, At: t.now().UTC()}
	var build buildObject
	if swap >= 0 && t.generation != 1 {
		err = t.read(ctx, t.generationRoot()+"build.json", &build)
	} else {
		err = t.ensure(ctx, t.generationRoot()+"build.json", &build, first)
	}
	if err != nil {
		return err
	}
	if !build.Shape.equal(c.Shape) {
		return &ShapeError{Table: c.Name, Have: build.Shape, Want: c.Shape}
	}
	if err := t.keepConfig(ctx); err != nil {
		return err
	}
	var closed *ClosedError // then Route leads to the generation that takes more
	if err := t.extendSet(ctx, c.Partitions); err != nil && !errors.As(err, &closed) {
		return err
	}
	if swap < 0 {
		return t.ensure(ctx, t.outcomeKey(0), &outcomeObject{}, outcomeObject{V: formatVersion, Live: 1, At: t.now().UTC()})
	}
	return nil
}

// newest is the key of the object with the highest number in a folder.
func (t *Table) newest(ctx context.Context, folder string) (string, error) {
	last := ""
	for o, err := range t.store.List(ctx, folder, "") {
		if err != nil {
			return "", err
		}
		if _, ok := numberOf(o.Key, folder); ok {
			last = o.Key
		}
	}
	return last, nil
}

// read gets and decodes an object under `_lakefeed`.
func (t *Table) read(ctx context.Context, key string, into any) error {
	b, err := t.store.Get(ctx, key)
	if err != nil {
		return err
	}
	if err := decodeObject(b, into); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	return nil
}

// ensure creates an object unless there is one, and reads what is there.
func (t *Table) ensure(ctx context.Context, key string, into, object any) error {
	err := t.read(ctx, key, into)
	if !errors.Is(err, ErrNotExist) {
		return err
	}
	b, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	if err := t.create(ctx, key, b); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	return t.read(ctx, key, into)
}

// create creates an object, trying a few times while the outcome is unknown. Nil
// and ErrExists both mean that there is an object now; of two tries of our own
// the second may find what the first one made.
func (t *Table) create(ctx context.Context, key string, body []byte) error {
	if err := fault.At(ctx, fault.ObjectCreate); err != nil {
		return fmt.Errorf("create %s: %w", key, err)
	}
	for try := 1; ; try++ {
		err := t.store.Create(ctx, key, body)
		if err == nil || errors.Is(err, ErrExists) || final(err) || try == 5 {
			return err
		}
		if e := t.sleep(ctx, backoff(try)); e != nil {
			return errors.Join(err, e)
		}
	}
}

// final says that trying again will not help: a person must act first. Whether the
// operation was done is not known for that.
func final(err error) bool {
	return errors.Is(err, ErrGivenUp) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// backoff is how long to wait after so many tries, between half and all of 0.1 s
// doubled each time, up to 10 s.
func backoff(try int) time.Duration {
	d := 10 * time.Second
	if try < 8 {
		d = 100 * time.Millisecond << (try - 1)
	}
	return d/2 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Name is the table's name.
func (t *Table) Name() string { return t.name }

// Store is where the table lives.
func (t *Table) Store() Store { return t.store }

// Topic is the topic that the table is built from.
func (t *Table) Topic() string { return t.topic }

// Partitions is how many topic partitions the table knows; never fewer than there
// are chains.
func (t *Table) Partitions() int { return t.partitions }

// Shape is the shape that all files of the table have.
func (t *Table) Shape() Shape { return t.shape }

// LakeID is a random id, which tells a table that was deleted and made again
// from the one before.
func (t *Table) LakeID() string { return t.lake }

// Generation is the number of the build that is read and written.
func (t *Table) Generation() int { return t.generation }

// Config is the text of a configuration that records refer to, by its hash.
func (t *Table) Config(ctx context.Context, hash string) ([]byte, error) {
	var c configObject
	if err := t.read(ctx, t.generationRoot()+"config/"+hash+".json", &c); err != nil {
		return nil, err
	}
	return []byte(c.Text), nil
}

// ConfigText is the configuration the table was opened with.
func (t *Table) ConfigText() []byte { return []byte(t.text) }

// ConfigHash names the configuration the table was opened with.
func (t *Table) ConfigHash() string { return t.config }

// Folder is the top folder of the generation's data.
func (t *Table) Folder() string { return t.folder(t.name) }

// QuarantineFolder is the top folder of the rows that could not become records.
func (t *Table) QuarantineFolder() string { return t.folder(t.name + quarantineSuffix) }

func (t *Table) folder(name string) string {
	if t.generation == 1 {
		return name
	}
	return fmt.Sprintf("%s.g%d", name, t.generation)
}

// Schemas is the log of the versions of the table's columns.
func (t *Table) Schemas() *SchemaLog { return t.schemas }
