package consumer

import (
	"slices"
	"time"

	"lakefeed/schema"
	"lakefeed/sink"
)

// Events are told what happens; a nil func is not told. They are called from the
// workers' goroutines, one at a time for a topic partition, and must be quick.
type Events struct {
	// Committed: a batch is in the lake, and its files are visible.
	Committed func(Commit)
	// Evolved: a new version of the table's schema was stored.
	Evolved func(version int64, changes []schema.Change)
	// Deviated: of a committed batch, what the table did not take: cells that were
	// rescued, rows that the contract keeps out. Counts are of the batch.
	Deviated func(partition int, deviations []schema.Deviation)
	// Conflict: a row was skipped that the end of its stream had not counted.
	Conflict func(partition int, offset int64, stream schema.StreamID, row int64)
	// Lost: another owner had decided the batch, which was dropped.
	Lost func(partition int, seq int64)
	// Unverified: the last message of the chain is gone from the log, so that the
	// log could not be compared with it.
	Unverified func(partition int, offset int64)
	// Reset: the topic was deleted and made again, and the topic partition goes on at
	// the start of its new log. The arguments are log ids.
	Reset func(partition int, from, to string)
	// Rewound: the log has lost messages, and the topic partition goes on at an
	// earlier offset.
	Rewound func(partition int, from, to int64)
	// Gap: rows are lost, and the lake has it on record.
	Gap func(Gap)
	// Repaired: files of a record that had vanished before they were visible were made
	// again from the topic.
	Repaired func(partition int, seq int64, files []string)
}

// Gap is what was recorded as lost: offsets, or files that had the rows of some.
type Gap struct {
	Partition int
	From, To  int64    // offsets; of files those among which their rows were
	Files     []string // keys; none where the offsets themselves are lost
	Rows      int64    // of the files
}

// Commit is what one committed batch was.
type Commit struct {
	Partition   int
	Seq         int64
	From, To    int64
	Rows        int64 // in the table
	Filtered    int64 // left out by the feed's transforms
	Quarantined int64
	Rescued     int64 // cells
	Duplicates  int64 // rows skipped because they were in the lake already
	Files       int
	Bytes       int64 // of the files
	Took        time.Duration
	Causes      []Cause // of the quarantined rows, by rule
	Deviations  []schema.Deviation
}

// Cause is why rows went into quarantine, with the first of them.
type Cause struct {
	Rule    string
	Rows    int64
	Message string // of the first
	Source  string // of the first; empty where unknown
	Line    int64  // of the first; sink.Unknown where unknown
}

// causes counts quarantined rows by rule, in the order in which they came up.
func causes(rows []sink.QuarantineRow) (out []Cause) {
	for _, q := range rows {
		i := slices.IndexFunc(out, func(c Cause) bool { return c.Rule == q.Rule })
		if i < 0 {
			i = len(out)
			out = append(out, Cause{Rule: q.Rule, Message: q.Message, Source: q.Source, Line: q.Line})
		}
		out[i].Rows++
	}
	return out
}

func (e *Events) committed(c Commit) {
	if e.Committed != nil {
		e.Committed(c)
	}
}

func (e *Events) evolved(version int64, changes []schema.Change) {
	if e.Evolved != nil {
		e.Evolved(version, changes)
	}
}

func (e *Events) reset(partition int, from, to string) {
	if e.Reset != nil {
		e.Reset(partition, from, to)
	}
}

func (e *Events) rewound(partition int, from, to int64) {
	if e.Rewound != nil {
		e.Rewound(partition, from, to)
	}
}

func (e *Events) gap(g Gap) {
	if e.Gap != nil {
		e.Gap(g)
	}
}

func (e *Events) repaired(partition int, seq int64, files []string) {
	if e.Repaired != nil {
		e.Repaired(partition, seq, files)
	}
}
