package sink

import "fmt"

// State is where a chain stands.
type State struct {
	// Seq is the number of the last record, -1 when there is none.
	Seq int64
	// To is the next offset to take, -1 when the chain has taken none.
	To int64
	// Log is the log that offsets belong to. Where none was taken it is the one
	// that other chains of the table take rows of, empty when none does.
	Log string
	// FP is of the last message before To; nil where that is not known.
	FP *Fingerprint
	// Attempt is that of the last record.
	Attempt string
	// Reset is the number of the last reset, 0 when there was none.
	Reset int64
	// Closed is the swap of generations that has closed the chain: nothing is taken
	// there. 0: it is open.
	Closed int64
}

// behind is the state behind the next record.
func (s State) behind(r *Record) State {
	next := State{Seq: r.Seq, To: r.To, Log: r.Log, FP: r.FP, Attempt: r.Attempt, Reset: max(s.Reset, r.Reset)}
	if r.Kind == KindClose {
		next.Closed = *r.M
	}
	if r.Log == "" { // closed or opened before anything was taken
		next.To, next.Log = s.To, s.Log
	}
	return next
}

func (s State) link() link {
	l := link{seq: s.Seq, attempt: s.Attempt, reset: s.Reset, closed: s.Closed}
	if s.To >= 0 {
		l.to, l.log = s.To, s.Log
	}
	return l
}

// LogView is what a topic partition looks like at present.
type LogView struct {
	Topic      string
	Partition  int
	Log        string // log id
	Start, End int64  // first offset, and the one after the last
	// Last is of the message at State.FP.Offset; nil if there is none at that
	// offset, or it was not looked for.
	Last *Fingerprint
}

// LogVerdict says how to go on with a log.
type LogVerdict uint8

// The verdicts on a log.
const (
	// LogOK: go on at State.To.
	LogOK LogVerdict = iota
	// LogUnverified: go on at State.To, and tell: the message before it is gone, so
	// that the log could not be compared with it.
	LogUnverified
	// LogFromStart: a new chain, and the log does not begin at 0 any more. Skip
	// what comes before its start, for SkipRetention, and go on there.
	LogFromStart
)

// LogCase is a way in which a log is not what a chain expects.
type LogCase string

// The cases of a LogError.
const (
	LogOther     LogCase = "other log"           // the topic was deleted and made again
	LogRetention LogCase = "removed before read" // the log begins behind what the chain has
	LogShort     LogCase = "log is shorter"      // the log ends before what the chain has
	LogDiffers   LogCase = "other message"       // another message is at the chain's last offset
)

// LogError says that a topic partition is not what its chain was written from,
// or has lost rows that the chain needs. Nothing is committed then.
type LogError struct {
	Case       LogCase
	Topic      string
	Partition  int
	To         int64  // the chain's next offset
	Start, End int64  // of the log
	Want, Have string // log ids
}

func (e *LogError) Error() string {
	at := fmt.Sprintf("read topic partition %s/%d at offset %d: ", e.Topic, e.Partition, e.To)
	const record = "to record the loss and go on, give --on-data-loss=record"
	switch e.Case {
	case LogOther:
		return at + fmt.Sprintf("the topic is not the one that the lake was written from (its id is %s, the lake has %s): it was deleted and made again, or this is another broker; connect to the broker that has the old topic, or take the new one over with lakefeed adopt-topic: what is sent again is left out", e.Have, e.Want)
	case LogRetention:
		return at + fmt.Sprintf("the log begins at offset %d: offsets %d to %d were removed before they reached the lake, by retention or by hand; %s", e.Start, e.To, e.Start-1, record)
	case LogShort:
		return at + fmt.Sprintf("the log ends at offset %d, before what the lake has of it: the broker has lost messages; %s", e.End, record)
	}
	return at + fmt.Sprintf("the message at offset %d is not the one that the lake has read there: the broker has lost messages, and others took their place; %s", e.To-1, record)
}

// CheckLog compares a chain with the log as it is at present: at start, after a
// change of leader, and when an offset is out of range. The error is a *LogError.
func (s State) CheckLog(v LogView) (LogVerdict, error) {
	fail := func(c LogCase) (LogVerdict, error) {
		return LogOK, &LogError{Case: c, Topic: v.Topic, Partition: v.Partition, To: s.To, Start: v.Start, End: v.End, Want: s.Log, Have: v.Log}
	}
	switch {
	case s.To < 0 && s.Log != "" && v.Log != s.Log:
		return fail(LogOther)
	case s.To < 0 && v.Start > 0:
		return LogFromStart, nil
	case s.To < 0:
		return LogOK, nil
	case v.Log != s.Log:
		return fail(LogOther)
	case v.Start > s.To:
		return fail(LogRetention)
	case v.End < s.To:
		return fail(LogShort)
	case s.To == 0:
		return LogOK, nil
	case s.FP == nil || v.Last == nil || v.Last.Offset != s.FP.Offset:
		return LogUnverified, nil
	case !v.Last.Matches(*s.FP):
		return fail(LogDiffers)
	}
	return LogOK, nil
}
