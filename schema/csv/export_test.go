package csv

// SetBufferSize sets the size of the buffer before the first call of Next.
func (s *Splitter) SetBufferSize(n int) { s.size = n }

// BufferSize is the size that the buffer has come to.
func (s *Splitter) BufferSize() int { return cap(s.buf) }

// BlankBytes is how many spaces a blank line may have.
const BlankBytes = blankBytes

// RepairBytes is how far a faulty quoted cell is looked for.
const RepairBytes = repairBytes
