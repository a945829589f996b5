package sink

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Root is the folder of a lake that holds all that is not a table's data.
const Root = "_lakefeed"

const quarantineSuffix = "__quarantine"

// number gives a number as it is in object names: 20 digits, so that the order of
// a listing is the order of the numbers.
func number(n int64) string { return fmt.Sprintf("%020d", n) }

// numberOf reads the number of an object named <20 digits>.json in a folder.
func numberOf(key, folder string) (int64, bool) {
	name, ok := strings.CutPrefix(key, folder)
	if !ok {
		return 0, false
	}
	if name, ok = strings.CutSuffix(name, ".json"); !ok || len(name) != 20 {
		return 0, false
	}
	for _, c := range name {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(name, 10, 64)
	return n, err == nil
}

// TableOfFolder is the name of the table whose data is in a top folder of a lake:
// of "flights.g2" and of "flights__quarantine" it is "flights".
func TableOfFolder(folder string) string {
	if i := strings.LastIndex(folder, ".g"); i > 0 && allDigits(folder[i+2:]) {
		folder = folder[:i]
	}
	return strings.TrimSuffix(folder, quarantineSuffix)
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// maxTopicInName is how much of a topic's name goes into file names, which have
// 255 bytes at most. Of longer ones it is a beginning and a hash.
const maxTopicInName = 80

func topicInName(topic string) string {
	if len(topic) <= maxTopicInName {
		return topic
	}
	sum := sha256.Sum256([]byte(topic))
	return topic[:maxTopicInName-17] + "." + hex.EncodeToString(sum[:8])
}

const fileSuffix = ".zstd.parquet"

// FileKey is the key of file number n of a draft that ends before the offset to.
// table is Main or Quarantine, partitionPath the folder of the table partition,
// empty where there are none.
func (t *Table) FileKey(table, partitionPath, topic string, partition int, d *Draft, to int64, n int) string {
	folder := t.Folder()
	if table == Quarantine {
		folder = t.QuarantineFolder()
	}
	if partitionPath != "" {
		folder += "/" + partitionPath
	}
	return fmt.Sprintf("%s/part-%s-%d-%s-%s-%s-%s-%d%s", folder, topicInName(topic), partition,
		number(d.Seq()), number(d.From()), number(to), d.Attempt(), n, fileSuffix)
}

// FileName is what the name of a data file says of it.
type FileName struct {
	Topic     string // as in names: shortened when it is long
	Partition int    // topic partition
	Seq       int64  // of the record that lists it, if one does
	From, To  int64  // offsets
	Attempt   string
	N         int
}

// ParseFileKey reads the last element of a key that FileKey made.
func ParseFileKey(key string) (FileName, bool) {
	name, ok := strings.CutPrefix(key[strings.LastIndexByte(key, '/')+1:], "part-")
	if !ok {
		return FileName{}, false
	}
	if name, ok = strings.CutSuffix(name, fileSuffix); !ok {
		return FileName{}, false
	}
	// From the end, since a topic's name may have dashes.
	parts := strings.Split(name, "-")
	if len(parts) < 7 {
		return FileName{}, false
	}
	tail := parts[len(parts)-6:]
	f := FileName{Topic: strings.Join(parts[:len(parts)-6], "-"), Attempt: tail[4]}
	numbers := []*int64{nil, &f.Seq, &f.From, &f.To}
	for i, into := range numbers {
		if !allDigits(tail[i]) {
			return FileName{}, false
		}
		n, err := strconv.ParseInt(tail[i], 10, 64)
		if err != nil {
			return FileName{}, false
		}
		if into == nil {
			f.Partition = int(n)
		} else {
			*into = n
		}
	}
	n, err := strconv.Atoi(tail[5])
	f.N = n
	return f, err == nil && allDigits(tail[5])
}

// Folders of a generation.

func (t *Table) root() string { return Root + "/" + t.name + "/" }

func (t *Table) generationRoot() string { return t.root() + "g" + strconv.Itoa(t.generation) + "/" }

func (t *Table) topicFolder(of string) string {
	return t.generationRoot() + of + "/" + t.topic + "/"
}

func (t *Table) chainFolder(of string, partition int) string {
	return t.topicFolder(of) + number(int64(partition)) + "/"
}
