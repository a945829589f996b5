package sink

import (
	"context"
	"strings"

	"github.com/zeebo/xxh3"

	"lakefeed/schema"
)

// inventory compares the files that are visible in a table's folders with those
// that the records list, in memory that does not grow with them: each file adds
// the hash of its key to the sum of one of many buckets, once when it is seen and
// once when it is listed. Only buckets whose sums differ are looked at file by
// file.
type inventory struct {
	table    *Table
	position Position
	visible  []bucket
	records  []bucket
	// Files that do not have the name of one that the position's records can list:
	// foreign ones, and of records that came later.
	others []string
	more   int64 // others that were not kept
}

type bucket struct {
	files int64
	sum   schema.Sum128
}

const (
	inventoryBuckets = 1 << 14
	maxOthers        = 100_000
)

func newInventory(t *Table, s Position) *inventory {
	return &inventory{table: t, position: s, visible: make([]bucket, inventoryBuckets), records: make([]bucket, inventoryBuckets)}
}

func bucketOf(key string) (int, xxh3.Uint128) {
	h := xxh3.HashString128(key)
	return int(h.Lo % inventoryBuckets), h
}

func (b *bucket) add(h xxh3.Uint128) {
	b.files++
	b.sum.Add(h.Hi, h.Lo)
}

// listed takes a file that a record lists.
func (v *inventory) listed(key string) {
	i, h := bucketOf(key)
	v.records[i].add(h)
}

// list takes the files that are visible. It comes before the records are read, so
// that the record of a file that it finds is there by then.
func (v *inventory) list(ctx context.Context) error {
	return v.each(ctx, func(key string) {
		i, h := bucketOf(key)
		v.visible[i].add(h)
	}, func(key string) {
		if len(v.others) < maxOthers {
			v.others = append(v.others, key)
		} else {
			v.more++
		}
	})
}

// each lists the table's folders: to known what has the name of a file that the
// position's records may list, to other what has not, unless readers of the Hive
// family leave it out for its name.
func (v *inventory) each(ctx context.Context, known, other func(key string)) error {
	for _, folder := range []string{v.table.Folder() + "/", v.table.QuarantineFolder() + "/"} {
		for o, err := range v.table.store.List(ctx, folder, "") {
			if err != nil {
				return err
			}
			name, ok := ParseFileKey(o.Key)
			switch {
			case ok && name.Topic == topicInName(v.table.topic) && name.Seq <= v.position.last(name.Partition):
				known(o.Key)
			case !hidden(o.Key, folder):
				other(o.Key)
			}
		}
	}
	return nil
}

// hidden says whether readers of the Hive family leave a key below a folder out.
func hidden(key, folder string) bool {
	for name := range strings.SplitSeq(strings.TrimPrefix(key, folder), "/") {
		if strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") {
			return true
		}
	}
	return false
}

// foreign gives the visible files that no record lists, once all records of the
// position were taken, and how many more there are.
func (v *inventory) foreign(ctx context.Context) (keys []string, more int64, err error) {
	for _, key := range v.others {
		ours, err := v.young(ctx, key)
		if err != nil {
			return nil, 0, err
		}
		if !ours {
			keys = append(keys, key)
		}
	}
	more = v.more
	differ := make(map[int]bool)
	for i := range v.visible {
		if v.visible[i] != v.records[i] {
			differ[i] = true
		}
	}
	if len(differ) == 0 {
		return keys, more, nil
	}
	found, over, err := v.unlisted(ctx, differ)
	return append(keys, found...), more + over, err
}

// young says whether a file is listed by a record that is younger than the
// position.
func (v *inventory) young(ctx context.Context, key string) (bool, error) {
	name, ok := ParseFileKey(key)
	if !ok || name.Topic != topicInName(v.table.topic) || name.Partition >= v.table.partitions {
		return false, nil
	}
	there, err := v.table.hasRecord(ctx, name.Partition, name.Seq)
	if err != nil || !there {
		return false, err
	}
	r, err := v.table.record(ctx, name.Partition, name.Seq)
	if err != nil {
		return false, err
	}
	for f := range r.Added() {
		if f.Key == key {
			return true, nil
		}
	}
	return false, nil
}

// unlisted finds the visible files in some buckets that no record lists, as many at
// a time as memory is for.
func (v *inventory) unlisted(ctx context.Context, differ map[int]bool) (keys []string, more int64, err error) {
	// In each round the visible files of some of the buckets are kept.
	var rounds []map[int]bool
	files := int64(0)
	for i := range differ {
		if n := v.visible[i].files; len(rounds) == 0 || files+n > maxOthers {
			rounds, files = append(rounds, map[int]bool{}), 0
		}
		rounds[len(rounds)-1][i] = true
		files += v.visible[i].files
	}
	for _, buckets := range rounds {
		left := make(map[string]bool)
		err := v.each(ctx, func(key string) {
			if i, _ := bucketOf(key); buckets[i] {
				left[key] = true
			}
		}, func(string) {})
		for p := range v.table.partitions {
			if err != nil {
				return nil, 0, err
			}
			err = v.eachListed(ctx, p, func(key string) { delete(left, key) })
		}
		if err != nil {
			return nil, 0, err
		}
		for key := range left {
			if len(keys) < maxOthers {
				keys = append(keys, key)
			} else {
				more++
			}
		}
	}
	return keys, more, nil
}

// eachListed gives the files that the records of a chain list which can be read,
// without those that a repair has replaced or a replay has retired. Those that the last
// one retires may be visible still.
func (v *inventory) eachListed(ctx context.Context, partition int, f func(key string)) error {
	last := v.position.last(partition)
	retired := map[string]bool{}
	for seq := int64(0); seq < last; seq++ {
		r, err := v.table.readable(ctx, partition, seq)
		if err != nil {
			return err
		}
		if r != nil {
			for _, gone := range r.Retires {
				retired[gone.Key] = true
			}
		}
	}
	var held *settledRecord
	give := func() {
		if held != nil {
			for _, file := range held.files {
				if !retired[file.Key] {
					f(file.Key)
				}
			}
		}
	}
	for seq := int64(0); seq <= v.position.last(partition); seq++ {
		r, err := v.table.readable(ctx, partition, seq)
		if err != nil {
			return err
		}
		if r == nil || held != nil && held.amend(r) {
			continue
		}
		give()
		held = &settledRecord{Record: r, files: r.Files}
	}
	give()
	return nil
}
