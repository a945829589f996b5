package sink

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	return fmt.Sprintf("open table %s: it is %s, and cannot become %s: all files of a table have one shape; go on with its shape, or take the sources into another table", e.Table, e.Have, e.Want)
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
	feed       string
	generation int
	partitions int
	shape      Shape
	config     string // hash
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
	outcomeObject struct {
		V         int  `json:"v"`
		Live      int  `json:"live"`
		Cancelled bool `json:"cancelled,omitempty"`
	}
	buildObject struct {
		V       int              `json:"v"`
		Shape   Shape            `json:"shape"`
		Config  string           `json:"config"` // hash
		Text    string           `json:"text"`
		Schema  int64            `json:"schema"`
		Purpose string           `json:"purpose"`
		From    map[string]int64 `json:"from,omitempty"`
	}
	configObject struct {
		V    int    `json:"v"`
		Text string `json:"text"`
	}
	setObject struct {
		V     int    `json:"v"`
		Count int    `json:"count,omitempty"`
		Close *int64 `json:"close,omitempty"`
		Open  *int64 `json:"open,omitempty"`
	}
)

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
	sum := sha256.Sum256(c.Config)
	t := &Table{
		store: c.Store, name: c.Name, topic: c.Topic, shape: c.Shape, generation: 1, config: hex.EncodeToString(sum[:]),
		log: c.Log, events: c.Events,
		now: time.Now, sleep: sleep, checkpointEvery: 256,
	}
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
	if err == nil || errors.As(err, &shape) || errors.As(err, &topic) {
		return err
	}
	return fmt.Errorf("open table %s in %s: %w", c.Name, c.Store, err)
}

func (t *Table) openObjects(ctx context.Context, c TableConfig) error {
	var table tableObject
	err := t.ensure(ctx, t.root()+"table.json", &table, tableObject{V: formatVersion, Lake: newAttempt(), Feed: c.Feed, Topics: []string{c.Topic}, At: t.now().UTC()})
	if err != nil {
		return err
	}
	if !slices.Contains(table.Topics, c.Topic) {
		return &TopicError{Table: c.Name, Have: table.Topics, Want: c.Topic}
	}
	t.lake, t.feed = table.Lake, table.Feed

	// The newest outcome of a swap says which generation is live.
	swap, live, err := t.newestSwap(ctx)
	if err != nil {
		return err
	}
	if swap >= 0 {
		t.generation = live
	}
	first := buildObject{V: formatVersion, Shape: c.Shape, Config: t.config, Text: string(c.Config), Purpose: "first"}
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
	var config configObject
	if err := t.ensure(ctx, t.generationRoot()+"config/"+t.config+".json", &config, configObject{V: formatVersion, Text: string(c.Config)}); err != nil {
		return err
	}
	if err := t.extendSet(ctx, c.Partitions); err != nil {
		return err
	}
	if swap < 0 {
		if err := t.ensure(ctx, t.root()+"generations/"+number(0)+".json", &outcomeObject{}, outcomeObject{V: formatVersion, Live: 1}); err != nil {
			return err
		}
	}
	return nil
}

// newestSwap is the number of the newest swap of generations that has its outcome,
// and the generation that is live since; -1 when there was none, not even the first
// build.
func (t *Table) newestSwap(ctx context.Context) (swap int64, live int, err error) {
	folder := t.root() + "generations/"
	key, err := t.newest(ctx, folder)
	if err != nil || key == "" {
		return -1, 0, err
	}
	var out outcomeObject
	if err := t.read(ctx, key, &out); err != nil {
		return -1, 0, err
	}
	if out.Live < 1 {
		return -1, 0, fmt.Errorf("read %s: generation %d is live, which there is none of", key, out.Live)
	}
	swap, _ = numberOf(key, folder)
	return swap, out.Live, nil
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

// newestSet reads the newest object of the generation's set of topic partitions,
// and gives the number of the next one.
func (t *Table) newestSet(ctx context.Context) (set setObject, next int64, err error) {
	folder := t.generationRoot() + "set/"
	last, err := t.newest(ctx, folder)
	if err != nil || last == "" {
		return set, 0, err
	}
	if err := t.read(ctx, last, &set); err != nil {
		return set, 0, err
	}
	if set.Close != nil || set.Open != nil {
		return set, 0, fmt.Errorf("read %s: a swap of generations has closed or opened the set of topic partitions, which this lakefeed cannot follow: use a newer lakefeed", last)
	}
	i, _ := numberOf(last, folder)
	return set, i + 1, nil
}

// setCount is how many topic partitions the generation knows at present; other
// processes may have added some since the table was opened.
func (t *Table) setCount(ctx context.Context) (int, error) {
	set, _, err := t.newestSet(ctx)
	return max(set.Count, t.partitions), err
}

// extendSet makes the generation's set of topic partitions as large as the topic.
func (t *Table) extendSet(ctx context.Context, count int) error {
	for {
		set, next, err := t.newestSet(ctx)
		if err != nil {
			return err
		}
		if set.Count >= count {
			t.partitions = set.Count
			return nil
		}
		key := t.generationRoot() + "set/" + number(next) + ".json"
		if err := t.ensure(ctx, key, &setObject{}, setObject{V: formatVersion, Count: count}); err != nil {
			return err
		}
	}
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

// Feed is the feed that the table was made for.
func (t *Table) Feed() string { return t.feed }

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
