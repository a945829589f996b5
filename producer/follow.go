package producer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"lakefeed/schema"
)

// keepAliveEvery is how often the progress of followed objects is written while
// nothing comes, so that no other producer takes them.
const keepAliveEvery = 10 * time.Second

// maxFollowed is how many followed files are kept open, for what is written to
// them before and after they are renamed; goneAfter is for how long one without
// its name is when nothing is written to it.
const (
	maxFollowed = 500
	goneAfter   = 5 * time.Minute
)

// followed is an object to which lines may be appended, between two passes.
type followed struct {
	object Object
	claim  *claim
	acked  progress
	noted  time.Time
	tail   []byte   // the last bytes before acked.Offset
	file   *os.File // kept open; nil where it cannot be
	size   int64    // of file when it was last read
	// written is when a file without its name was last seen to grow, or to have
	// lost it; zero while it has it.
	written time.Time
}

func (p *Producer) followedAs(uri string) *followed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.following[uri]
}

// follow keeps where a followed object is until the next pass.
func (p *Producer) follow(s *sender, in *content) {
	f := &followed{object: s.object, claim: s.claim, acked: s.acked, noted: s.ackedAt, tail: s.consumed.tail(s.acked.Offset)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if before := p.following[s.object.URI]; before != nil {
		if f.noted.IsZero() {
			f.noted = before.noted
		}
		if f.tail == nil && before.acked.Offset == f.acked.Offset {
			f.tail = before.tail
		}
		before.close()
	}
	p.following[s.object.URI] = f
	if len(p.following) <= maxFollowed {
		f.file, f.size = in.keep(), s.object.Size
	}
}

// setAcked keeps what was acknowledged of a followed object before it failed.
func (p *Producer) setAcked(s *sender) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.following[s.object.URI]; f != nil && f.claim.is(s.claim) && f.acked.Offset != s.acked.Offset {
		f.acked, f.tail = s.acked, nil
	}
}

func (p *Producer) unfollow(uri string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.following[uri]; f != nil {
		f.close()
		delete(p.following, uri)
	}
}

func (f *followed) close() {
	if f.file != nil {
		f.file.Close() // it was only read
	}
}

// goesOn says whether an object is the one that is followed, by the last bytes
// that were sent: so that not all of it is compared whenever a line comes.
func (p *Producer) goesOn(ctx context.Context, o Object) (d decision, ok bool, err error) {
	f := p.followedAs(o.URI)
	if f == nil || len(f.tail) == 0 || o.Inode != f.object.Inode || o.Size < f.acked.Offset {
		return d, false, nil
	}
	c, err := open(ctx, o, f.acked.Offset-int64(len(f.tail)))
	if err != nil {
		return d, false, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	tail := make([]byte, len(f.tail))
	if _, err := io.ReadFull(c, tail); err != nil || !bytes.Equal(tail, f.tail) {
		return d, false, nil
	}
	return decision{version: f.claim.Version, from: f.claim.Ranges[0].From, resume: true}, true, nil
}

// errAnother says that a followed file was cut off or replaced while it was read.
var errAnother = errors.New("it is another file by now")

// guard makes sure that what was read of a followed file goes on from what was
// sent of it before: it is the file that was looked at, and the bytes before
// still stand there.
func (p *Producer) guard(in *content, s *sender) func() error {
	var file *os.File
	switch stored := in.stored.(type) {
	case *os.File:
		file = stored
	case keptFile:
		file = stored.File
	default:
		return func() error { return nil }
	}
	info, err := file.Stat()
	if err == nil && inode(info) != s.object.Inode {
		err = errAnother
	}
	from := max(0, s.acked.Offset-tailBytes)
	before := make([]byte, s.acked.Offset-from)
	if !s.consumed.direct {
		before = nil
	}
	if err == nil {
		_, err = file.ReadAt(before, from)
	}
	f := p.followedAs(s.object.URI)
	if err == io.EOF || before != nil && f != nil && f.acked.Offset == s.acked.Offset && !bytes.HasSuffix(before, f.tail) {
		err = errAnother
	}
	now := make([]byte, len(before))
	return func() error {
		if err != nil {
			return err
		}
		switch n, err := file.ReadAt(now, from); {
		case err == io.EOF || err == nil && !bytes.Equal(now[:n], before):
			return errAnother
		default:
			return err
		}
	}
}

// drain sends what was written to a followed file that lost its name. last says
// that no more comes: then its last line goes, too, and the stream's end.
func (p *Producer) drain(ctx context.Context, uri string, last bool) (err error) {
	f := p.followedAs(uri)
	if f == nil || f.file == nil {
		return nil
	}
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() == f.size && !last {
		return nil
	}
	f.size = info.Size()
	o := f.object
	o.Stat = nil
	o.Open = func(_ context.Context, offset int64) (io.ReadCloser, error) {
		_, err := f.file.Seek(offset, io.SeekStart)
		return keptFile{f.file}, err
	}
	s := newSender(p, o, f.claim)
	in, err := s.begin(ctx, &f.acked, nil, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	s.guard = p.guard(in, s)
	err = s.run(ctx)
	if err == nil && last {
		err = s.finish(ctx)
	}
	if errors.Is(err, errAnother) {
		p.Events.warn(uri, "it was cut off: lines written in the last moment before are lost")
		err = nil
	}
	switch {
	case err == nil && last:
		err = s.complete(ctx)
	case s.sent > 0:
		err = errors.Join(err, s.note(ctx))
	}
	summary := p.entry(uri, f.claim.Version)
	s.count(summary)
	if s.acked.Done {
		summary.Status = s.acked.Status
		p.unfollow(uri)
		return err
	}
	if f.acked.Offset != s.acked.Offset {
		f.tail = s.consumed.tail(s.acked.Offset)
	}
	f.acked, f.written = s.acked, p.Now()
	return err
}

// keptFile is a file that stays open.
type keptFile struct{ *os.File }

func (keptFile) Close() error { return nil }

// tend sees to what is followed at the end of a pass: files that lost their name,
// and progress that shows others that this producer is there.
func (p *Producer) tend(ctx context.Context, listed map[string]bool) error {
	notes := map[schema.StreamID]progress{}
	var gone []string
	p.mu.Lock()
	for uri, f := range p.following {
		switch {
		case listed[uri]:
			f.written = time.Time{}
		case f.written.IsZero():
			f.written = p.Now()
			gone = append(gone, uri)
		case p.Now().Sub(f.written) < goneAfter:
			gone = append(gone, uri)
		default:
			f.acked.Released = true
			notes[f.claim.Ranges[0].Stream] = f.acked
			f.close()
			delete(p.following, uri)
			continue
		}
		if !p.Exclusive && p.Now().Sub(f.noted) >= keepAliveEvery {
			notes[f.claim.Ranges[0].Stream] = f.acked
			f.noted = p.Now()
		}
	}
	p.mu.Unlock()
	if err := p.ledger.note(ctx, notes); err != nil {
		return err
	}
	for _, uri := range gone {
		if err := p.drain(ctx, uri, false); err != nil {
			f := p.followedAs(uri)
			if err := p.failed(ctx, f.object, p.entry(uri, f.claim.Version), err); err != nil {
				return err
			}
		}
	}
	return nil
}

// release closes what is followed, and writes that other producers may go on
// with it.
func (p *Producer) release(ctx context.Context, failed error) error {
	notes := map[schema.StreamID]progress{}
	for _, f := range p.following {
		f.close()
		f.acked.Released = true
		notes[f.claim.Ranges[0].Stream] = f.acked
	}
	if unsure(failed) {
		return nil
	}
	return p.ledger.note(context.WithoutCancel(ctx), notes)
}

// keep gives the opened file instead of closing it, nil where it is none.
func (c *content) keep() *os.File {
	file, _ := c.stored.(*os.File)
	if file == nil {
		return nil
	}
	c.close = nil
	return file
}
