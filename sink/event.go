package sink

// Events are told what happens to a table's chains; a nil func is not told. They
// are called by the goroutine that works on the chain, be it to reset the chain of
// another owner, and must be quick.
type Events struct {
	// Unknown: the answer to creating a record is not known after so many tries.
	// The same record is sent again until it is.
	Unknown func(partition int, seq int64, tries int, err error)
	// Published: all files of a record are visible.
	Published func(partition int, record *Record)
	// Checkpointed: recovery will begin behind this record.
	Checkpointed func(partition int, seq int64)
}

func (e *Events) unknown(partition int, seq int64, tries int, err error) {
	if e.Unknown != nil {
		e.Unknown(partition, seq, tries, err)
	}
}

func (e *Events) published(partition int, r *Record) {
	if e.Published != nil {
		e.Published(partition, r)
	}
}

func (e *Events) checkpointed(partition int, seq int64) {
	if e.Checkpointed != nil {
		e.Checkpointed(partition, seq)
	}
}
