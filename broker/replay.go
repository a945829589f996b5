package broker

import "encoding/binary"

// AppendLog appends the batch to the bytes of a log, as one record batch at an offset
// that a leader of an epoch has taken. It is not compressed.
func (b *Batch) AppendLog(log []byte, base int64, epoch int32) []byte {
	return appendLogged(log, base, base+int64(b.n)-1, epoch, b.n, b.first, b.last, b.records)
}

// AppendGap appends offsets [from, to) that hold no message to the bytes of a log.
func AppendGap(log []byte, from, to int64) []byte {
	for from < to {
		last := min(to, from+1<<30) - 1
		log = appendLogged(log, from, last, -1, 0, 0, 0, nil)
		from = last + 1
	}
	return log
}

func appendLogged(log []byte, base, last int64, epoch int32, n int, first, newest int64, records []byte) []byte {
	be := binary.BigEndian
	var head [batchHead]byte
	be.PutUint64(head[0:], uint64(base))
	be.PutUint32(head[8:], uint32(batchHead-12+len(records)))
	be.PutUint32(head[12:], uint32(epoch))
	head[16] = batchFormat
	be.PutUint32(head[23:], uint32(last-base))
	be.PutUint64(head[27:], uint64(first))
	be.PutUint64(head[35:], uint64(newest))
	be.PutUint64(head[43:], 0xffffffffffffffff) // no producer id, epoch or sequence
	be.PutUint16(head[51:], 0xffff)
	be.PutUint32(head[53:], 0xffffffff)
	be.PutUint32(head[57:], uint32(n))
	at := len(log)
	log = append(append(log, head[:]...), records...)
	be.PutUint32(log[at+17:], checksum(log[at+21:]))
	return log
}

// Replay makes f give the messages of a log's bytes from an offset on, as if they had
// been fetched: whole is FetchOptions.WholeBatches. f aliases log until it is used
// again.
func (f *Fetch) Replay(log []byte, offset int64, whole bool) {
	f.response, f.aborted = nil, f.aborted[:0]
	f.begin(log, offset, whole)
}
