// Package embedded is a Kafka inside this process.
package embedded

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
	"github.com/twmb/franz-go/pkg/kfake"
)

// ErrLocked is a folder in use.
var ErrLocked = errors.New("in use by another process")

// Config says where.
type Config struct {
	Dir        string
	Partitions int
}

// Broker is a running embedded Kafka.
type Broker struct {
	cluster *kfake.Cluster
	lock    *flock.Flock
	dir, id string
}

// Start starts it.
func Start(c Config) (*Broker, error) {
	if err := os.MkdirAll(c.Dir, 0o777); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(c.Dir, "lock"))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("open embedded Kafka in %s: %w", c.Dir, ErrLocked)
	}
	idFile := filepath.Join(c.Dir, "cluster-id")
	id, err := os.ReadFile(idFile)
	if errors.Is(err, fs.ErrNotExist) {
		var b [12]byte
		rand.Read(b[:])
		id = []byte(hex.EncodeToString(b[:]))
		err = os.WriteFile(idFile, id, 0o666)
	}
	if err != nil {
		return nil, err
	}
	if c.Partitions == 0 {
		c.Partitions = 2
	}
	cl, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ClusterID(string(id)), kfake.DataDir(filepath.Join(c.Dir, "data")), kfake.DefaultNumPartitions(c.Partitions),
		kfake.BrokerConfigs(map[string]string{
			"message.max.bytes": "8388608",
			// It reads a whole segment at a time when it starts.
			"log.segment.bytes": "16777216",
			// It applies Kafka's seven days to every topic otherwise.
			"log.retention.ms":    "-1",
			"log.retention.bytes": "-1",
		}))
	if err != nil {
		lock.Unlock()
		return nil, err
	}
	return &Broker{cl, lock, c.Dir, string(id)}, nil
}

// Addrs of the broker.
func (b *Broker) Addrs() []string { return b.cluster.ListenAddrs() }

// ClusterID of the broker.
func (b *Broker) ClusterID() string { return b.id }

// Size on disk.
func (b *Broker) Size() (n int64, err error) {
	err = filepath.WalkDir(b.dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if i, e := d.Info(); e == nil {
				n += i.Size()
			}
		}
		return nil
	})
	return n, err
}

// Close stops it.
func (b *Broker) Close() error { b.cluster.Close(); return b.lock.Unlock() }
