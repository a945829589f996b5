package producer

import "lakefeed/schema"

// Events are told what happens; a nil func is not told. They are called from
// several goroutines and must be quick.
type Events struct {
	Sent     func(SentInfo) // rows were acknowledged
	Rejected func(Rejected) // bytes could not be cut into a row
	Warning  func(Warning)  // a person should know
	Info     func(Warning)
	// Passed is told that the run is done with an object, whatever became of it, and
	// its size as it was listed. It is not told with Config.Follow.
	Passed func(uri string, size int64)
}

// SentInfo is one acknowledged batch of rows.
type SentInfo struct {
	URI          string
	Stream       schema.StreamID
	Partition    int   // topic partition
	Rows         int64 // rejects included
	Bytes        int64 // of the object
	Offset, Size int64 // how far the object is; Size is -1 where unknown, and of compressed objects
}

// Rejected is what could not be cut into a row.
type Rejected struct {
	URI           string
	Line          int64
	From, To      int64
	Rule, Message string
}

// Warning is what a person should know of an object.
type Warning struct{ URI, Message string }

func (e *Events) sent(s SentInfo) {
	if e.Sent != nil {
		e.Sent(s)
	}
}

func (e *Events) passed(uri string, size int64) {
	if e.Passed != nil {
		e.Passed(uri, size)
	}
}

func (e *Events) rejected(r Rejected) {
	if e.Rejected != nil {
		e.Rejected(r)
	}
}

func (e *Events) warn(uri, message string) {
	if e.Warning != nil && message != "" {
		e.Warning(Warning{uri, message})
	}
}

func (e *Events) info(uri, message string) {
	if e.Info != nil && message != "" {
		e.Info(Warning{uri, message})
	}
}
