package consumer

import (
	"lakefeed/schema"
	"lakefeed/sink"
)

// metaColumns are the columns that --meta adds to each row: where it comes from
// and when it was sent to the topic. They are the same whenever the row is read.
type metaColumns struct {
	source, row, offset, ingested schema.Vector
}

func (m *metaColumns) reset() {
	m.source.Reset(schema.Type{Kind: schema.String})
	m.row.Reset(schema.Type{Kind: schema.Bigint})
	m.offset.Reset(schema.Type{Kind: schema.Bigint})
	m.ingested.Reset(schema.Type{Kind: schema.Timestamp, Zoned: true})
}

// add adds a row; row is negative where it has no number, timestamp is that of
// its message.
func (m *metaColumns) add(source string, row, offset, timestamp int64) {
	if source == "" {
		m.source.AppendNull()
	} else {
		m.source.AppendText([]byte(source))
	}
	if row < 0 {
		m.row.AppendNull()
	} else {
		m.row.AppendInt(row)
	}
	m.offset.AppendInt(offset)
	m.ingested.AppendInt(timestamp)
}

func (m *metaColumns) columns() []sink.Column {
	return []sink.Column{
		{Name: "_source", Type: m.source.Type, Vector: &m.source},
		{Name: "_row", Type: m.row.Type, Vector: &m.row},
		{Name: "_offset", Type: m.offset.Type, Vector: &m.offset},
		{Name: "_ingested_at", Type: m.ingested.Type, Vector: &m.ingested},
	}
}
