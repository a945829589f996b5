package sink

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Level says what a Finding means for the lake.
type Level string

// The levels of findings, from the worst.
const (
	Damage  Level = "damage"  // rows are missing, there twice, or not what they were
	Loss    Level = "loss"    // rows are missing, and the lake has it on record
	Warning Level = "warning" // the lake is as it should be, and somebody should know
	Note    Level = "note"    // what was seen, or could not be looked at
)

// FindingKind names what a Finding is of, for programs.
type FindingKind string

// The kinds of findings. What each means is in deploy/docs/audit.md.
const (
	RecordMissing     FindingKind = "record-missing"
	RecordDamaged     FindingKind = "record-damaged"
	RecordWrong       FindingKind = "record-wrong"
	CheckpointWrong   FindingKind = "checkpoint-wrong"
	ObjectMissing     FindingKind = "object-missing"
	FileMissing       FindingKind = "file-missing"
	FileTruncated     FindingKind = "file-truncated"
	FileDamaged       FindingKind = "file-damaged"
	FileEdited        FindingKind = "file-edited"
	FileForeign       FindingKind = "file-foreign"
	FileCopied        FindingKind = "file-copied"
	StreamIncomplete  FindingKind = "stream-incomplete"
	StreamChanged     FindingKind = "stream-changed"
	StreamTwice       FindingKind = "stream-twice"
	StreamHash        FindingKind = "stream-hash"
	RowConflict       FindingKind = "row-conflict"
	TopicDiffers      FindingKind = "topic-differs"
	TopicMissing      FindingKind = "topic-missing"
	CellsDiffer       FindingKind = "cells-differ"
	RawMissing        FindingKind = "raw-missing"
	RawDamaged        FindingKind = "raw-damaged"
	RawDiffers        FindingKind = "raw-differs"
	LossRetention     FindingKind = "loss-retention"
	LossFiles         FindingKind = "loss-files"
	StreamAbandoned   FindingKind = "stream-abandoned"
	TopicRemoved      FindingKind = "topic-removed"
	EqualObjects      FindingKind = "equal-objects"
	LogRewound        FindingKind = "log-rewound"
	FilePending       FindingKind = "file-pending"
	StagedLeft        FindingKind = "staged-left"
	StagedUnknown     FindingKind = "staged-unknown"
	LifecycleRules    FindingKind = "lifecycle-rules"
	LifecycleUnknown  FindingKind = "lifecycle-unknown"
	TopicNotCompared  FindingKind = "topic-not-compared"
	StreamsUnderWay   FindingKind = "streams-under-way"
	StreamHashUnknown FindingKind = "stream-hash-unknown"
)

// Finding is one thing that an audit has found, as exactly as it is known.
type Finding struct {
	Level   Level       `json:"level"`
	Kind    FindingKind `json:"kind"`
	Message string      `json:"message"`      // what is wrong, with what it is compared to
	Do      string      `json:"do,omitempty"` // what to do about it

	Chain  string `json:"chain,omitempty"`  // topic and topic partition, as feed/0
	Seq    *int64 `json:"seq,omitempty"`    // of the record
	From   *int64 `json:"from,omitempty"`   // offsets
	To     *int64 `json:"to,omitempty"`     //
	Key    string `json:"key,omitempty"`    // of the file or object
	Stream string `json:"stream,omitempty"` //
	Source string `json:"source,omitempty"` // URI of the stream's object, where it is known
	Rows   int64  `json:"rows,omitempty"`   // how many are concerned, as far as that is known
}

// AuditReport is what an audit has found. It keeps a bounded number of findings
// of each kind, and counts all. It may be added to by many goroutines.
type AuditReport struct {
	Table      string `json:"table"`
	Generation int    `json:"generation"`
	Position   string `json:"state"` // the state that was audited
	Deep       bool   `json:"deep"`

	Records     int64            `json:"records"`
	Offsets     int64            `json:"offsets"`
	Files       int64            `json:"files"`
	Bytes       int64            `json:"bytes"`
	Rows        int64            `json:"rows"`
	Quarantined int64            `json:"rows_quarantined"`
	Skipped     map[string]int64 `json:"offsets_skipped,omitempty"` // by reason
	Ends        int64            `json:"ends"`
	Complete    int64            `json:"streams_complete"`
	UnderWay    int64            `json:"streams_under_way"`
	Compared    int64            `json:"rows_compared_with_topic"`
	ComparedRaw int64            `json:"rows_compared_with_raw_zone"`
	Hashed      int64            `json:"streams_compared_by_hash"`

	// Ranges says of all offsets what they were compared with, by chain.
	Ranges     []ComparedRange `json:"compared,omitempty"`
	RangesLeft int64           `json:"compared_left,omitempty"` // ranges that are not named

	Counts   map[FindingKind]int64 `json:"counts,omitempty"` // of all findings
	Findings []Finding             `json:"findings,omitempty"`

	mu     sync.Mutex
	limit  int
	levels map[Level]int64
}

// DefaultFindings is how many findings of a kind a report keeps.
const DefaultFindings = 100

// NewAuditReport gives an empty report that keeps at most so many findings of each
// kind; 0 is the default.
func NewAuditReport(limit int) *AuditReport {
	return &AuditReport{limit: cmp.Or(limit, DefaultFindings), Skipped: map[string]int64{}, Counts: map[FindingKind]int64{}, levels: map[Level]int64{}}
}

// Add takes a finding.
func (r *AuditReport) Add(f Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.levels[f.Level]++
	r.Counts[f.Kind]++
	if r.Counts[f.Kind] <= int64(r.limit) {
		r.Findings = append(r.Findings, f)
	}
}

// Of is how many findings there were of a level.
func (r *AuditReport) Of(l Level) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.levels[l]
}

// count changes the report's numbers.
func (r *AuditReport) count(f func(*AuditReport)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r)
}

var levelOrder = map[Level]int{Damage: 0, Loss: 1, Warning: 2, Note: 3}

// Sort orders the findings: the worst first, then by chain, record and key.
func (r *AuditReport) Sort() {
	r.mu.Lock()
	defer r.mu.Unlock()
	number := func(n *int64) int64 {
		if n == nil {
			return -1
		}
		return *n
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(levelOrder[a.Level], levelOrder[b.Level]), cmp.Compare(a.Chain, b.Chain), cmp.Compare(number(a.Seq), number(b.Seq)),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Stream, b.Stream), cmp.Compare(number(a.From), number(b.From)))
	})
}

// Left says how many findings of each kind the report does not keep.
func (r *AuditReport) Left() map[FindingKind]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := maps.Clone(r.Counts)
	for _, f := range r.Findings {
		left[f.Kind]--
	}
	maps.DeleteFunc(left, func(_ FindingKind, n int64) bool { return n == 0 })
	return left
}

// OfRecord is the beginning of a finding about a record.
func (t *Table) OfRecord(l Level, k FindingKind, partition int, r *Record, format string, args ...any) Finding {
	seq, from, to := r.Seq, r.From, r.To // a finding keeps no record
	return Finding{Level: l, Kind: k, Chain: chainName(t.topic, partition), Seq: &seq, From: &from, To: &to, Message: fmt.Sprintf(format, args...)}
}
