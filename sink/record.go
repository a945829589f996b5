package sink

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"lakefeed/schema"
)

// formatVersion is the newest format of the objects under `_lakefeed` that this
// program reads, and the one it writes.
const formatVersion = 1

// FormatError is an object under `_lakefeed` whose format is newer than this
// program knows. Nothing is decided from such an object.
type FormatError = schema.FormatError

// Kind says what a record does.
type Kind string

// The kinds of records.
const (
	KindRows     Kind = "rows"     // a batch
	KindRepair   Kind = "repair"   // files of the record before it that were lost, made again
	KindReplay   Kind = "replay"   // rows in quarantine were taken again, and are records now
	KindGap      Kind = "gap"      // offsets, or files, that are lost and were given up
	KindReset    Kind = "reset"    // the topic was made again: a new log
	KindRewind   Kind = "rewind"   // the log was cut: the chain goes back
	KindClose    Kind = "close"    // a swap of generations closes the chain
	KindOpen     Kind = "open"     // a swap opens it again
	KindRedirect Kind = "redirect" // a table partition has a new folder
)

// File is one data file that a record adds to a table.
type File struct {
	Table     string            `json:"table"` // Main or Quarantine
	Key       string            `json:"key"`
	Staged    Staged            `json:"staged"`
	Size      int64             `json:"size"` // bytes
	ETag      string            `json:"etag,omitempty"`
	Rows      int64             `json:"rows"`
	RowHash   string            `json:"rowhash"`
	CellHash  string            `json:"cellhash,omitempty"`
	Partition []PartitionValue  `json:"partition,omitempty"`
	Min       map[string]string `json:"min,omitempty"` // by column
	Max       map[string]string `json:"max,omitempty"`
}

// The tables that one chain writes.
const (
	Main       = "main"
	Quarantine = "quarantine"
)

// Skip is a range of offsets that have no row in the table, and why.
type Skip struct {
	From   int64  `json:"from"`
	To     int64  `json:"to"`
	Reason string `json:"reason"`
	// Runs is of the stored form alone: see packSkips.
	Runs string `json:"runs,omitempty"`
}

// The reasons of a Skip.
const (
	SkipDuplicate = "duplicate" // the row is in the table already
	SkipConflict  = "conflict"  // contradicts the end of its stream
	SkipControl   = "control"   // a transaction marker
	SkipAborted   = "aborted"   // in a transaction that was aborted
	SkipCompacted = "compacted" // no message has this offset
	SkipRetention = "retention" // removed from the log before it was read
	SkipFiltered  = "filtered"  // a row that the feed's transforms leave out
)

// Range is the numbers from the first to before the second.
type Range [2]int64

// StreamState is what a chain has seen of one stream: a row is seen iff it is
// below Next and in no hole.
type StreamState struct {
	ID     schema.StreamID `json:"id"`
	Next   int64           `json:"next"`
	Holes  []Range         `json:"holes,omitempty"`  // ascending, disjoint, not adjacent, below Next
	Count  *int64          `json:"count,omitempty"`  // rows of the stream, once its end was seen
	Status string          `json:"status,omitempty"` // of the end
	Hash   string          `json:"hash,omitempty"`   // of the rows, as the end gives it
}

// Counts are the numbers of a record.
type Counts struct {
	Rows        int64 `json:"rows"`        // in files of the table
	Quarantined int64 `json:"quarantined"` // in files of its quarantine table
	Ends        int64 `json:"ends"`        // ends of streams
	Skipped     int64 `json:"skipped"`     // offsets
	Rescued     int64 `json:"rescued"`     // cells
	Lost        int64 `json:"lost,omitempty"`
	Filtered    int64 `json:"filtered,omitempty"` // replay: rows that the feed leaves out now
	Foreign     int64 `json:"foreign,omitempty"`  // of all rows those that are of no stream; of early records not known
}

// Fingerprint tells one message from another that may have its offset one day.
type Fingerprint struct {
	Offset    int64
	Key       string // the message's key, whatever bytes it has
	Timestamp int64  // ms
	CRC32C    uint32 // of key and value
	Epoch     int32  // leader epoch, for people; not compared
}

// Matches says whether both are of one message.
func (f Fingerprint) Matches(o Fingerprint) bool {
	f.Epoch, o.Epoch = 0, 0
	return f == o
}

type storedFingerprint struct {
	Offset    int64  `json:"offset"`
	Key       string `json:"key,omitempty"`
	KeyBytes  string `json:"key64,omitempty"` // instead of key where it is not UTF-8
	Timestamp int64  `json:"timestamp"`
	CRC32C    uint32 `json:"crc32c"`
	Epoch     int32  `json:"epoch"`
}

// MarshalJSON keeps keys that are not UTF-8 in base64.
func (f Fingerprint) MarshalJSON() ([]byte, error) {
	s := storedFingerprint{Offset: f.Offset, Key: f.Key, Timestamp: f.Timestamp, CRC32C: f.CRC32C, Epoch: f.Epoch}
	if !utf8.ValidString(f.Key) {
		s.Key, s.KeyBytes = "", base64.StdEncoding.EncodeToString([]byte(f.Key))
	}
	return json.Marshal(s)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Fingerprint) UnmarshalJSON(b []byte) error {
	var s storedFingerprint
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*f = Fingerprint{Offset: s.Offset, Key: s.Key, Timestamp: s.Timestamp, CRC32C: s.CRC32C, Epoch: s.Epoch}
	if s.KeyBytes != "" {
		key, err := base64.StdEncoding.DecodeString(s.KeyBytes)
		if err != nil {
			return fmt.Errorf("key64: %w", err)
		}
		f.Key = string(key)
	}
	return nil
}

// Record is one link of a chain: what one batch did. Once created it never
// changes.
type Record struct {
	V       int           `json:"v"`
	Kind    Kind          `json:"kind"`
	Seq     int64         `json:"seq"`
	Log     string        `json:"log"`  // the incarnation of the topic partition that the offsets belong to
	From    int64         `json:"from"` // offsets of the batch: from, and before to
	To      int64         `json:"to"`
	Prev    string        `json:"prev"` // attempt of the record before it, empty for the first
	Files   []File        `json:"files,omitempty"`
	Streams []StreamState `json:"streams,omitempty"` // those that the batch changed, as they are after it
	Skipped []Skip        `json:"skipped,omitempty"`
	Counts  Counts        `json:"counts"`
	Schema  int64         `json:"schema"` // version of the table's columns
	Config  string        `json:"config"` // hash of the config
	Attempt string        `json:"attempt"`
	FP      *Fingerprint  `json:"fp,omitempty"` // of the last message before To
	At      time.Time     `json:"at"`

	// By kind.
	Reset    int64           `json:"reset,omitempty"`    // reset: its number, 1 for the first of the table
	Of       *int64          `json:"of,omitempty"`       // repair, gap: the record whose files were lost
	Replaces map[string]File `json:"replaces,omitempty"` // repair: lost key to the file made instead
	Lost     []string        `json:"lost,omitempty"`     // gap: keys of lost files that were given up
	Retires  []Retired       `json:"retires,omitempty"`  // replay: files of the quarantine whose rows its own files have; also of its repair, and of the gap that gives it up
	Offsets  []Range         `json:"offsets,omitempty"`  // replay: of the rows that were taken again, ascending
	Next     int             `json:"next,omitempty"`     // close, open: the generation that goes on
	M        *int64          `json:"m,omitempty"`        // close, open: number of the swap
	Folder   string          `json:"folder,omitempty"`   // redirect
	Epoch    int64           `json:"epoch,omitempty"`    // redirect
}

// Added gives the files that the record makes visible: its own, and of a repair
// those that take the place of lost ones.
func (r *Record) Added() iter.Seq[File] {
	return func(yield func(File) bool) {
		for _, f := range r.Files {
			if !yield(f) {
				return
			}
		}
		for _, key := range slices.Sorted(maps.Keys(r.Replaces)) {
			if !yield(r.Replaces[key]) {
				return
			}
		}
	}
}

// EncodeRecord gives the stored form of a record.
func EncodeRecord(r *Record) ([]byte, error) {
	stored := *r
	stored.Skipped = packSkips(r.Skipped)
	b, err := json.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("encode record %d: %w", r.Seq, err)
	}
	return b, nil
}

// DecodeRecord reads the stored form of a record and checks what can be checked
// of it alone. A newer format is a *FormatError.
func DecodeRecord(b []byte) (*Record, error) {
	r := new(Record)
	if err := decodeObject(b, r); err != nil {
		return nil, fmt.Errorf("decode record: %w", err)
	}
	var err error
	if r.Skipped, err = unpackSkips(r.Skipped); err != nil {
		return nil, fmt.Errorf("decode record %d: %w", r.Seq, err)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("decode record %d: %w", r.Seq, err)
	}
	return r, nil
}

// decodeObject decodes an object under `_lakefeed` after a look at its format.
func decodeObject(b []byte, into any) error {
	var head struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return err
	}
	if head.V > formatVersion {
		return &FormatError{Have: head.V, Know: formatVersion}
	}
	if head.V < 1 {
		return fmt.Errorf("format version %d is none", head.V)
	}
	return json.Unmarshal(b, into)
}

func (r *Record) check() error {
	if r.Seq < 0 || r.From < 0 || r.To < 0 {
		return fmt.Errorf("a number is negative: seq %d, from %d, to %d", r.Seq, r.From, r.To)
	}
	if r.Attempt == "" {
		return errors.New("no attempt id")
	}
	if (r.Prev == "") != (r.Seq == 0) {
		return errors.New("prev is there for all but the first record")
	}
	switch r.Kind {
	case KindRows, KindGap:
		if r.To < r.From {
			return fmt.Errorf("to %d is below from %d", r.To, r.From)
		}
	case KindRewind:
		if r.To >= r.From {
			return fmt.Errorf("rewind to %d does not go back from %d", r.To, r.From)
		}
	case KindReset:
		if r.Reset < 1 || r.Log == "" || len(r.Files) > 0 {
			return errors.New("a reset has no number, no log or has files")
		}
	case KindClose, KindOpen:
		if r.M == nil || *r.M < 1 || r.Next < 1 || len(r.Files) > 0 {
			return fmt.Errorf("a record of kind %s names no swap or no generation, or has files", r.Kind)
		}
		fallthrough
	case KindRepair, KindReplay, KindRedirect:
		if r.To != r.From {
			return fmt.Errorf("a record of kind %s moves from %d to %d", r.Kind, r.From, r.To)
		}
	default:
		return fmt.Errorf("kind %q is not known: use a newer lakefeed", r.Kind)
	}
	if r.Log == "" && r.Kind != KindClose && r.Kind != KindOpen {
		return errors.New("no log")
	}
	if r.Kind != KindReset && r.Reset != 0 {
		return fmt.Errorf("a record of kind %s has the number of a reset", r.Kind)
	}
	if r.Kind == KindRepair && (r.Of == nil || len(r.Replaces) == 0) {
		return errors.New("a repair names no record or no files")
	}
	if err := r.checkReplay(); err != nil {
		return err
	}
	for f := range r.Added() {
		if f.Key == "" || f.Key != f.Staged.Key || f.Size < 0 || f.Rows < 0 || f.Size != f.Staged.Size {
			return fmt.Errorf("file %q: key, size or rows are wrong", f.Key)
		}
		if f.Table != Main && f.Table != Quarantine {
			return fmt.Errorf("file %q: table %q is not known", f.Key, f.Table)
		}
	}
	end := r.From
	for _, s := range r.Skipped {
		if s.From < end || s.To <= s.From || s.To > r.To {
			return fmt.Errorf("skipped offsets %d to %d are out of order or outside the record", s.From, s.To)
		}
		end = s.To
	}
	for i := range r.Streams {
		if err := r.Streams[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *StreamState) check() error {
	if s.ID == (schema.StreamID{}) {
		return errors.New("a stream has no id")
	}
	if s.Next < 0 || s.Count != nil && *s.Count < 0 {
		return fmt.Errorf("stream %s: a number is negative", s.ID)
	}
	end := int64(-1)
	for _, h := range s.Holes {
		if h[0] <= end || h[1] <= h[0] || h[1] >= s.Next {
			return fmt.Errorf("stream %s: hole %d to %d is out of order or not below %d", s.ID, h[0], h[1], s.Next)
		}
		end = h[1]
	}
	return nil
}

// link is what the next record of a chain must fit.
type link struct {
	seq     int64 // -1: there is none yet
	to      int64
	log     string
	attempt string
	reset   int64 // number of the last reset, as far as it is known
	closed  int64 // swap that has closed the chain, 0 when it is open
}

func (r *Record) link() link {
	l := link{seq: r.Seq, to: r.To, log: r.Log, attempt: r.Attempt, reset: r.Reset}
	if r.Kind == KindClose {
		l.closed = *r.M
	}
	return l
}

// follows checks that a record goes on where the one before it ended.
func (r *Record) follows(before link) error {
	if r.Seq != before.seq+1 {
		return fmt.Errorf("it says that it is record %d", r.Seq)
	}
	if r.Prev != before.attempt {
		return fmt.Errorf("it follows attempt %q, but the record before it is attempt %q", r.Prev, before.attempt)
	}
	if before.closed > 0 && r.Kind != KindClose && r.Kind != KindOpen {
		return fmt.Errorf("it is of kind %s, and swap %d has closed the chain before it", r.Kind, before.closed)
	}
	if r.Kind == KindReset {
		if r.Reset <= before.reset {
			return fmt.Errorf("it is reset %d, and comes behind reset %d", r.Reset, before.reset)
		}
		return nil
	}
	if r.From != before.to {
		return fmt.Errorf("it begins at offset %d, but the record before it ends at %d", r.From, before.to)
	}
	if before.log != "" && r.Log != before.log {
		return fmt.Errorf("it is of log %q, but the record before it of log %q", r.Log, before.log)
	}
	return nil
}
