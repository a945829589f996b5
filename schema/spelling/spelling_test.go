package spelling_test

import (
	"testing"

	"lakefeed/schema/spelling"
)

func TestNearest(t *testing.T) {
	known := []string{"table", "topic", "source", "source_name", "partition_by", "csv", "sasl.password"}
	for word, want := range map[string]string{
		"tabel": "table", "topik": "topic", "Table": "table", "sources": "source", "partitionBy": "partition_by", "partition-by": "partition_by",
		"sourcename": "source_name", "cvs": "csv", "sasl.pasword": "sasl.password", "sasl_password": "sasl.password", "x": "", "flush": "", "": "", "日本": "",
	} {
		if got := spelling.Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
