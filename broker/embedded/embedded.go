// Package embedded is a Kafka inside this process, with its log in a folder: the
// same wire protocol, so that all other code cannot tell.
//
// It is kfake of franz-go with its DataDir. What it acknowledged is there after
// kill -9, since it writes before it answers; after a power cut the last moments
// may not be. It reads its whole log when it starts, and refuses one that has lost
// messages. Nothing is removed from it: neither by age or size nor by compaction.
package embedded

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/gofrs/flock"
	"github.com/twmb/franz-go/pkg/kfake"

	"lakefeed/broker"
)

// ErrLocked says that another process has the folder open.
var ErrLocked = errors.New("another process is using it: wait for that one, give this one another --kafka-dir, or let both use one Kafka, --brokers HOST:PORT")

// Config says where the log is.
type Config struct {
	Dir string // made where it is absent
}

// Broker is a running embedded Kafka of one broker.
type Broker struct {
	cluster *kfake.Cluster
	lock    *flock.Flock
	dir     string
	id      string
	faults  faults
}

// segmentBytes is the size of the log's segments. One is read into memory at a
// time when it starts.
const segmentBytes = 16 << 20

// Start locks the folder, which kfake does not, and starts the broker on a free
// port of the loopback interface. The error is ErrLocked while another process
// has the folder.
func Start(c Config) (_ *Broker, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open the embedded Kafka's log in %s: %w", c.Dir, err)
		}
	}()
	if err := os.MkdirAll(c.Dir, 0o777); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(c.Dir, "lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, err
	}
	if !locked {
		return nil, ErrLocked
	}
	b := &Broker{lock: lock, dir: c.Dir}
	data := filepath.Join(c.Dir, "data")
	if b.id, err = clusterID(filepath.Join(c.Dir, "cluster-id")); err == nil {
		err = verify(data)
	}
	if errors.Is(err, ErrDamaged) {
		err = fmt.Errorf("%w; put the folder back from a backup, or move it away and send the sources again: rows that are in the lake are left out then", err)
	}
	if err == nil {
		b.cluster, err = start(b.id, data, &b.faults)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return b, nil
}

func start(id, dir string, logger kfake.Logger) (*kfake.Cluster, error) {
	return kfake.NewCluster(
		kfake.NumBrokers(1), kfake.ClusterID(id), kfake.DataDir(dir), kfake.WithLogger(logger),
		kfake.BrokerConfigs(map[string]string{
			"message.max.bytes": strconv.Itoa(broker.MaxMessageBytes),
			"log.segment.bytes": strconv.Itoa(segmentBytes),
			// Kafka's seven days would hold for every topic otherwise.
			"log.retention.ms":    "-1",
			"log.retention.bytes": "-1",
			// It compacts by removing a log's files before it writes the new ones.
			// That would be every hour; a hundred years from now is never.
			"log.cleaner.backoff.ms": "3155760000000",
		}))
}

// faults keeps the errors of closing, which kfake only logs.
type faults struct {
	mu      sync.Mutex
	closing bool
	errs    []error
}

// Logf is kfake's Logger.
func (f *faults) Logf(level kfake.LogLevel, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing && level == kfake.LogLevelError {
		f.errs = append(f.errs, fmt.Errorf(format, args...))
	}
}

// close closes the broker and gives its errors.
func (f *faults) close(c *kfake.Cluster) error {
	f.mu.Lock()
	f.closing = true
	f.mu.Unlock()
	c.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.errs...)
}

// clusterID reads the cluster's id, or makes one for a new folder.
func clusterID(name string) (string, error) {
	id, err := os.ReadFile(name)
	if err == nil && len(id) > 0 {
		return string(id), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var random [12]byte
	rand.Read(random[:])
	id = hex.AppendEncode(nil, random[:])
	// Renamed into place, so that a crash leaves no half of it.
	if err := os.WriteFile(name+".new", id, 0o666); err != nil {
		return "", err
	}
	return string(id), os.Rename(name+".new", name)
}

// Addrs are the broker's addresses, host:port.
func (b *Broker) Addrs() []string { return b.cluster.ListenAddrs() }

// ClusterID is the same whenever the folder is opened.
func (b *Broker) ClusterID() string { return b.id }

// Size is the number of bytes of the log on disk.
func (b *Broker) Size() (n int64, err error) {
	err = filepath.WalkDir(b.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a segment that was removed meanwhile
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// Writable says why the log cannot be written, as far as opening its files tells. kfake
// answers a client with an unknown error then.
func (b *Broker) Writable() error {
	return filepath.WalkDir(b.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".dat" {
			return err
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the embedded Kafka cannot write its log: %w", err)
		}
		return f.Close()
	})
}

// Close stops the broker and unlocks the folder.
func (b *Broker) Close() error {
	err := errors.Join(b.faults.close(b.cluster), b.lock.Unlock())
	if err != nil {
		return fmt.Errorf("close the embedded Kafka's log in %s: %w", b.dir, err)
	}
	return nil
}
