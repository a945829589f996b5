package embedded_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"lakefeed/broker"
	"lakefeed/broker/embedded"
)

// childDir makes the test binary a child that produces into the folder until it is
// killed.
const childDir = "LAKEFEED_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
	}
	goleak.VerifyTestMain(m)
}

// open starts a broker. The test closes it, or its end does.
func open(t testing.TB, dir string) (*embedded.Broker, *broker.Client) {
	t.Helper()
	b, err := embedded.Start(embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	client, err := broker.New(broker.Settings{Brokers: b.Addrs()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return b, client
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func makeTopic(t testing.TB, client *broker.Client, name string, compacted bool) broker.Topic {
	t.Helper()
	topic, err := client.EnsureTopic(soon(t), broker.TopicConfig{Name: name, Partitions: 1, Compacted: compacted})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// produce adds a batch with the message number as value, and the key k.
func produce(t testing.TB, client *broker.Client, topic string, from, n int) {
	t.Helper()
	var b broker.Batch
	for i := range n {
		b.Append([]byte("k"), fmt.Appendf(nil, "%d", from+i), nil, 1) // of 1970
	}
	if offset, err := client.Produce(soon(t), topic, 0, &b); err != nil || offset != int64(from) {
		t.Fatalf("batch %d is at offset %d, %v", from, offset, err)
	}
}

// read checks that the log of a topic is 0..n-1.
func read(t testing.TB, client *broker.Client, topic string, n int) {
	t.Helper()
	from, to, err := client.Offsets(soon(t), topic, 0)
	if err != nil || from != 0 || to != int64(n) {
		t.Fatalf("%s has offsets %d to %d, want 0 to %d: %v", topic, from, to, n, err)
	}
	var f broker.Fetch
	for next := int64(0); next < to; {
		if err := client.Fetch(soon(t), topic, 0, next, broker.FetchOptions{MaxBytes: 4 << 20, MinBytes: 1, MaxWait: time.Second}, &f); err != nil {
			t.Fatal(err)
		}
		var m broker.Message
		for f.Next(&m) {
			if m.Offset != next || string(m.Value) != fmt.Sprint(next) {
				t.Fatalf("message %d is %q, want %d", m.Offset, m.Value, next)
			}
			next++
		}
		if err := f.Err(); err != nil || f.End() != next {
			t.Fatalf("end %d, want %d: %v", f.End(), next, err)
		}
	}
}

func TestReopen(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "on the way")
	var topic broker.Topic
	var id string
	for round := range 3 {
		b, client := open(t, dir)
		got := makeTopic(t, client, "t", false)
		if round == 0 {
			topic, id = got, b.ClusterID()
		}
		if got != topic || b.ClusterID() != id || got.ClusterID != id || len(id) != 24 {
			t.Errorf("round %d: %+v of cluster %q, want %+v of %q", round, got, b.ClusterID(), topic, id)
		}
		read(t, client, "t", round*100)
		produce(t, client, "t", round*100, 60)
		produce(t, client, "t", round*100+60, 40)
		read(t, client, "t", round*100+100)
		size, err := b.Size()
		if err != nil || size < 1000 {
			t.Errorf("it has %d bytes, %v", size, err)
		}
		client.Close()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	other, _ := open(t, t.TempDir())
	if other.ClusterID() == id {
		t.Error("two folders have one cluster id")
	}
}

func TestLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, _ := open(t, dir)
	_, err := embedded.Start(embedded.Config{Dir: dir})
	if !errors.Is(err, embedded.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second one: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, dir)
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if err := again.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

// A start that fails lets go of the folder.
func TestFailedStartUnlocks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	meta := filepath.Join(dir, "data", "meta.json")
	if err := os.MkdirAll(filepath.Dir(meta), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(meta, []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.Start(embedded.Config{Dir: dir}); err == nil || errors.Is(err, embedded.ErrLocked) {
		t.Fatalf("a folder with half a file: %v", err)
	}
	if err := os.Remove(meta); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestUnusableFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	noData := filepath.Join(dir, "no data")
	if err := os.MkdirAll(noData, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(noData, "data"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	folders := []string{file, filepath.Join(file, "below"), noData}
	if os.Getuid() != 0 {
		closed := filepath.Join(dir, "closed")
		if err := os.Mkdir(closed, 0o555); err != nil {
			t.Fatal(err)
		}
		folders = append(folders, closed)
	}
	for _, folder := range folders {
		if b, err := embedded.Start(embedded.Config{Dir: folder}); err == nil {
			b.Close()
			t.Errorf("%s was opened", folder)
		} else if !strings.HasPrefix(err.Error(), "open the embedded Kafka's log in "+folder+": ") {
			t.Error(err)
		}
	}
}

// Messages of 1970 in a compacted topic and in a plain one are not removed.
func TestNothingIsRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, client := open(t, dir)
	makeTopic(t, client, "plain", false)
	makeTopic(t, client, "compacted", true)
	// And one that another program made, with what the brokers have by default.
	makeDefaultTopic(t, b.Addrs(), "default")
	topics := []string{"plain", "compacted", "default"}
	for _, topic := range topics {
		for i := range 10 {
			produce(t, client, topic, i*10, 10)
		}
	}
	b.CleanUp()
	for _, topic := range topics {
		read(t, client, topic, 100)
	}
	// Compaction, which loses messages when it is killed, is so rare as to be never.
	if got := brokerConfig(t, b.Addrs(), "log.cleaner.backoff.ms"); len(got) < 12 {
		t.Errorf("the log is compacted every %s ms", got)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	_, client = open(t, dir)
	for _, topic := range topics {
		read(t, client, topic, 100)
	}
}

// child produces until it is killed, and says what was acknowledged.
func child(dir string) {
	b, err := embedded.Start(embedded.Config{Dir: dir})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	client, err := broker.New(broker.Settings{Brokers: b.Addrs()})
	if err == nil {
		_, err = client.EnsureTopic(context.Background(), broker.TopicConfig{Name: "t", Partitions: 1})
	}
	next := int64(0)
	if err == nil {
		_, next, err = client.Offsets(context.Background(), "t", 0)
	}
	for err == nil {
		var batch broker.Batch
		for i := range int64(50) {
			batch.Append([]byte("k"), fmt.Appendf(nil, "%d", next+i), nil, 1)
		}
		if next, err = client.Produce(context.Background(), "t", 0, &batch); err == nil {
			next += 50
			fmt.Println(next)
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acknowledged := 0
	var id string
	for round := range 4 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stuck := time.AfterFunc(3*time.Minute, func() { cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		for n := 0; n < 20*(round+1) && lines.Scan(); n++ {
			if _, err := fmt.Sscan(lines.Text(), &acknowledged); err != nil {
				t.Errorf("the child says %q", lines.Text())
			}
		}
		if !stuck.Stop() {
			t.Fatal("the child does nothing")
		}
		cmd.Process.Kill()
		for lines.Scan() { // what it said before
			fmt.Sscan(lines.Text(), &acknowledged)
		}
		cmd.Wait()

		b, client := open(t, dir)
		_, end, err := client.Offsets(soon(t), "t", 0)
		if err != nil || end < int64(acknowledged) || acknowledged == 0 {
			t.Fatalf("round %d: the log ends at %d, and %d were acknowledged: %v", round, end, acknowledged, err)
		}
		read(t, client, "t", int(end))
		if round == 0 {
			id = b.ClusterID()
		}
		if b.ClusterID() != id {
			t.Errorf("the cluster id was %s and is %s", id, b.ClusterID())
		}
		client.Close()
		if round%2 == 1 { // the next kill comes after an orderly end
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		produce(t, client, "t", int(end), 10)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// damagedLog makes a log of three batches of 100 messages and gives its file.
func damagedLog(t *testing.T) (dir, segment string, batches []int) {
	t.Helper()
	dir = t.TempDir()
	b, client := open(t, dir)
	makeTopic(t, client, "t", false)
	for i := range 3 {
		produce(t, client, "t", i*100, 100)
	}
	client.Close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "data", "partitions", "t-0", "*.dat"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(text); at += 12 + int(binary.BigEndian.Uint32(text[at+8:])) {
		batches = append(batches, at)
	}
	if len(batches) != 3 {
		t.Fatalf("the file has batches at %v", batches)
	}
	return dir, files[0], batches
}

// kfake cuts a log off where it is damaged and goes on: messages would be missing
// without a word.
func TestDamage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		damage func(text []byte, batches []int) []byte
		killed bool // before, so that the end of the log is not known for sure
		want   int  // messages that are left, 0 for a refusal
	}{
		{name: "none", want: 300},
		{name: "byte in the first batch", damage: func(b []byte, at []int) []byte { b[at[0]+70] ^= 1; return b }},
		{name: "byte in the middle", damage: func(b []byte, at []int) []byte { b[at[1]+70] ^= 1; return b }},
		{name: "byte in the middle, killed", killed: true, damage: func(b []byte, at []int) []byte { b[at[1]+70] ^= 1; return b }},
		{name: "byte in the last batch", damage: func(b []byte, at []int) []byte { b[at[2]+70] ^= 1; return b }},
		{name: "offset", damage: func(b []byte, at []int) []byte { b[at[1]+7] ^= 1; return b }},
		{name: "length", damage: func(b []byte, at []int) []byte { b[at[1]+8] ^= 1; return b }},
		{name: "batch missing", damage: func(b []byte, at []int) []byte { return append(b[:at[1]], b[at[2]:]...) }},
		{name: "batch missing, killed", killed: true, damage: func(b []byte, at []int) []byte { return append(b[:at[1]], b[at[2]:]...) }},
		{name: "end missing", damage: func(b []byte, at []int) []byte { return b[:at[2]] }},
		{name: "end cut off", damage: func(b []byte, at []int) []byte { return b[:at[2]+80] }},
		{name: "all missing", damage: func(b []byte, at []int) []byte { return nil }},
		// What a kill leaves: the batch that was being written was not acknowledged.
		{name: "end cut off, killed", killed: true, damage: func(b []byte, at []int) []byte { return b[:at[2]+80] }, want: 200},
		{name: "head cut off, killed", killed: true, damage: func(b []byte, at []int) []byte { return b[:at[2]+5] }, want: 200},
		{name: "zeros at the end, killed", killed: true, damage: func(b []byte, at []int) []byte { return append(b, make([]byte, 1000)...) }, want: 300},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir, segment, batches := damagedLog(t)
			text, err := os.ReadFile(segment)
			if err != nil {
				t.Fatal(err)
			}
			if test.killed {
				if err := os.Remove(filepath.Join(filepath.Dir(segment), "snapshot.json")); err != nil {
					t.Fatal(err)
				}
			}
			if test.damage != nil {
				if err := os.WriteFile(segment, test.damage(bytes.Clone(text), batches), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if test.want == 0 {
				before := tree(t, dir)
				_, err := embedded.Start(embedded.Config{Dir: dir})
				if !errors.Is(err, embedded.ErrDamaged) || !strings.Contains(err.Error(), filepath.Dir(segment)) {
					t.Errorf("it was opened: %v", err)
				}
				if after := tree(t, dir); !slices.Equal(before, after) {
					t.Errorf("the refusal changed the folder:\n%q\n%q", before, after)
				}
				return
			}
			b, client := open(t, dir)
			read(t, client, "t", test.want)
			produce(t, client, "t", test.want, 10)
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			_, client = open(t, dir)
			read(t, client, "t", test.want+10)
		})
	}
}

func TestFilesMissing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"meta.json", "topics.json", "partitions/t-0/0.dat"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, _, _ := damagedLog(t)
			if err := os.Remove(filepath.Join(dir, "data", filepath.FromSlash(name))); err != nil {
				t.Fatal(err)
			}
			if _, err := embedded.Start(embedded.Config{Dir: dir}); !errors.Is(err, embedded.ErrDamaged) {
				t.Errorf("it was opened: %v", err)
			}
		})
	}
}

// tree lists the files of a folder with their sizes.
func tree(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		out = append(out, fmt.Sprint(name, " ", info.Size()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A log of several segments.
func TestSegments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, client := open(t, dir)
	makeTopic(t, client, "t", false)
	var want []byte
	for i := range 10 {
		var batch broker.Batch
		value := noise(uint64(i), 4<<20)
		want = append(want, value[0])
		batch.Append(nil, value, nil, 1)
		if _, err := client.Produce(soon(t), "t", 0, &batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(dir, "data", "partitions", "t-0", "*.dat"))
	if err != nil || len(segments) < 3 {
		t.Fatalf("segments %q, %v", segments, err)
	}
	b, client = open(t, dir)
	var got []byte
	var f broker.Fetch
	for next := int64(0); next < 10; next = f.End() {
		if err := client.Fetch(soon(t), "t", 0, next, broker.FetchOptions{MaxBytes: 4 << 20, MinBytes: 1, MaxWait: time.Second}, &f); err != nil {
			t.Fatal(err)
		}
		var m broker.Message
		for f.Next(&m) {
			got = append(got, m.Value[0])
		}
		if f.Err() != nil {
			t.Fatal(f.Err())
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("messages %v, want %v", got, want)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	// One in the middle is missing.
	slices.SortFunc(segments, func(a, b string) int { return len(a) - len(b) })
	if err := os.Remove(segments[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.Start(embedded.Config{Dir: dir}); !errors.Is(err, embedded.ErrDamaged) {
		t.Errorf("it was opened: %v", err)
	}
}

// noise does not compress.
func noise(seed uint64, n int) []byte {
	out := make([]byte, 0, n+8)
	for x := seed + 1; len(out) < n; {
		x = x*6364136223846793005 + 1442695040888963407
		out = binary.BigEndian.AppendUint64(out, x)
	}
	return out[:n]
}

// makeDefaultTopic makes a topic without a setting.
func makeDefaultTopic(t *testing.T, addrs []string, name string) {
	t.Helper()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := kafka.Client{Addr: kafka.TCP(addrs...), Transport: transport}
	resp, err := client.CreateTopics(soon(t), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: name, NumPartitions: 1, ReplicationFactor: 1}}})
	if err != nil || resp.Errors[name] != nil {
		t.Fatal(err, resp)
	}
}

func brokerConfig(t *testing.T, addrs []string, name string) string {
	t.Helper()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := kafka.Client{Addr: kafka.TCP(addrs...), Transport: transport}
	resp, err := client.DescribeConfigs(soon(t), &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeBroker, ResourceName: "0", ConfigNames: []string{name}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range resp.Resources[0].ConfigEntries {
		if e.ConfigName == name {
			return e.ConfigValue
		}
	}
	return ""
}
