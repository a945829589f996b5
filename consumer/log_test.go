package consumer

import (
	"errors"
	"testing"

	"lakefeed/broker"
	"lakefeed/broker/embedded"
	"lakefeed/sink"
)

// What another leader wrote is read on only if the log still has the message that
// was read before it.
func TestLeaderThatLacksMessages(t *testing.T) {
	kafka, err := embedded.Start(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	client, err := broker.New(broker.Settings{Brokers: kafka.Addrs(), ClientID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topic, err := client.EnsureTopic(t.Context(), broker.TopicConfig{Name: "feed", Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	var batch broker.Batch
	batch.Append([]byte("a"), []byte("1"), nil, 5)
	batch.Append([]byte("b"), []byte("2"), nil, 6)
	if _, err := client.Produce(t.Context(), topic.Name, 0, &batch); err != nil {
		t.Fatal(err)
	}
	w := &worker{c: &Consumer{Client: client, Source: client, Topic: topic}}
	read := fingerprint(&broker.Message{Offset: 0, Key: []byte("a"), Value: []byte("1"), Timestamp: 5, Epoch: 3})
	other := *read
	other.CRC32C++
	beyond := *read
	beyond.Offset = 9
	for _, test := range []struct {
		name  string
		print *sink.Fingerprint
		epoch int32
		want  error
	}{
		{"nothing was read", nil, 4, nil},
		{"the same leader", &other, 3, nil},
		{"another leader with the message", read, 4, nil},
		{"another leader with another message", &other, 4, errAgain},
		{"another leader, and the message cannot be read", &beyond, 4, nil},
	} {
		w.print = test.print
		if err := w.checkLeader(t.Context(), &broker.Message{Offset: 1, Epoch: test.epoch}); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}
