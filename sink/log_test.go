package sink_test

import (
	"errors"
	"strings"
	"testing"

	"lakefeed/sink"
)

func TestCheckLog(t *testing.T) {
	fp := func(offset int64, key string) *sink.Fingerprint {
		return &sink.Fingerprint{Offset: offset, Key: key, Timestamp: 5, CRC32C: 6, Epoch: int32(len(key))}
	}
	chain := sink.State{Seq: 3, To: 100, Log: "a", FP: fp(99, "k")}
	control := sink.State{Seq: 3, To: 100, Log: "a", FP: fp(97, "k")} // transaction markers behind it
	early := sink.State{Seq: 0, To: 0, Log: "a"}
	fresh := sink.State{Seq: -1, To: -1}
	moved := *fp(99, "k")
	moved.Epoch = 9
	for _, test := range []struct {
		name    string
		state   sink.State
		log     string
		from    int64
		end     int64
		last    *sink.Fingerprint
		want    sink.LogVerdict
		problem sink.LogCase
		says    string
	}{
		{"a new chain", fresh, "a", 0, 50, nil, sink.LogOK, "", ""},
		{"a new chain of a log whose start is gone", fresh, "a", 7, 50, nil, sink.LogFromStart, "", ""},
		{"as it was left", chain, "a", 0, 100, fp(99, "k"), sink.LogOK, "", ""},
		{"with more", chain, "a", 10, 300, fp(99, "k"), sink.LogOK, "", ""},
		{"another leader since", chain, "a", 10, 300, &moved, sink.LogOK, "", ""},
		{"markers at the end", control, "a", 0, 100, fp(97, "k"), sink.LogOK, "", ""},
		{"the message before is gone", chain, "a", 100, 300, nil, sink.LogUnverified, "", ""},
		{"the message was not found", chain, "a", 0, 300, nil, sink.LogUnverified, "", ""},
		{"the message behind it was found", chain, "a", 0, 300, fp(100, "k"), sink.LogUnverified, "", ""},
		{"no fingerprint", sink.State{Seq: 3, To: 100, Log: "a"}, "a", 0, 300, fp(99, "k"), sink.LogUnverified, "", ""},
		{"nothing was taken yet", early, "a", 0, 10, nil, sink.LogOK, "", ""},
		{"retention has passed", chain, "a", 101, 300, nil, 0, sink.LogRetention, "offsets 100 to 100"},
		{"the log was emptied", chain, "a", 300, 300, nil, 0, sink.LogRetention, "offsets 100 to 299"},
		{"the log is shorter", chain, "a", 0, 99, nil, 0, sink.LogShort, "offset 99"},
		{"another message", chain, "a", 0, 300, fp(99, "x"), 0, sink.LogDiffers, "offset 99"},
		{"another log", chain, "b", 0, 300, fp(99, "k"), 0, sink.LogOther, "its id is b"},
		{"another log that is empty", chain, "b", 0, 0, nil, 0, sink.LogOther, "deleted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			have, err := test.state.CheckLog(sink.LogView{Topic: "topic", Partition: 4, Log: test.log, Start: test.from, End: test.end, Last: test.last})
			if test.problem == "" {
				if have != test.want || err != nil {
					t.Errorf("%v, %v; want %v", have, err, test.want)
				}
				return
			}
			var problem *sink.LogError
			if !errors.As(err, &problem) || problem.Case != test.problem {
				t.Fatalf("%v, %v; want the case %q", have, err, test.problem)
			}
			for _, part := range []string{test.says, "topic/4", "offset 100"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not say %q: %v", part, err)
				}
			}
		})
	}
}
