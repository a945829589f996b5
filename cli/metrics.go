package cli

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"lakefeed/consumer"
	"lakefeed/producer"
	"lakefeed/schema"
)

// metrics counts what the feeds of a process do: deploy/docs/metrics.md. Labels
// are a feed's table and words from fixed lists, never a file, a row or a column.
type metrics struct {
	registry *prometheus.Registry

	sent, sentBytes, rejected                       *prometheus.CounterVec // by table
	committed, filtered, duplicates, rescued        *prometheus.CounterVec
	files, fileBytes                                *prometheus.CounterVec
	resets, rewinds, lostRows, conflicts, repaired  *prometheus.CounterVec
	quarantined, commits, schemaChanges, deviations *prometheus.CounterVec // by table and a word
	schemaVersion, lastCommit                       *prometheus.GaugeVec
	commitSeconds                                   *prometheus.HistogramVec
}

func newMetrics(version string) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.gauge("build_info", "1; the label is the program's version.", "version").WithLabelValues(version).Set(1)

	m.sent = m.counter("rows_sent_total", "Rows that the topic has acknowledged.")
	m.sentBytes = m.counter("source_bytes_sent_total", "Bytes of the sources, decompressed, whose rows the topic has acknowledged.")
	m.rejected = m.counter("rows_rejected_total", "Stretches of a source that could not be cut into rows and were sent as they are.")

	m.committed = m.counter("rows_committed_total", "Rows that came to the table.")
	m.quarantined = m.counter("rows_quarantined_total", "Rows that came to the quarantine table, by the rule that sent them there.", "rule")
	m.filtered = m.counter("rows_filtered_total", "Rows that the feed's transforms left out.")
	m.duplicates = m.counter("rows_duplicate_total", "Rows that were skipped because the lake had them.")
	m.rescued = m.counter("cells_rescued_total", "Cells that came to the column _rescued.")
	m.files = m.counter("files_written_total", "Parquet files that became visible.")
	m.fileBytes = m.counter("file_bytes_written_total", "Bytes of the Parquet files that became visible.")
	m.commits = m.counter("commits_total", "Batches by outcome: won is committed, lost was decided by another owner.", "outcome")
	m.commitSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "lakefeed_commit_duration_seconds", Help: "From the end of a batch until its files are visible.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 14),
	}, []string{"table"})
	m.registry.MustRegister(m.commitSeconds)
	m.lastCommit = m.gauge("last_commit_timestamp_seconds", "When the newest commit of this process was made, in seconds since 1970.", "table")

	m.schemaVersion = m.gauge("schema_version", "The newest version of the table's schema that this process stored.", "table")
	m.schemaChanges = m.counter("schema_changes_total", "Changes of the table's columns, by kind.", "kind")
	m.deviations = m.counter("schema_deviations_total", "Cells and rows that the schema's contract did not let into their column, by kind and what became of them.", "kind", "policy")

	m.resets = m.counter("topic_resets_total", "Topic partitions that went on with a topic that was made again.")
	m.rewinds = m.counter("topic_rewinds_total", "Topic partitions whose log had lost its end.")
	m.lostRows = m.counter("offsets_lost_total", "Offsets that were gone from the topic before they reached the lake, and rows of files that could not be made again.")
	m.conflicts = m.counter("rows_conflicting_total", "Rows that came behind the end of their stream and were left out.")
	m.repaired = m.counter("files_repaired_total", "Files that had vanished before they were visible and were made again.")
	return m
}

func (m *metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lakefeed_" + name, Help: help}, append([]string{"table"}, labels...))
	m.registry.MustRegister(c)
	return c
}

func (m *metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "lakefeed_" + name, Help: help}, labels)
	m.registry.MustRegister(g)
	return g
}

// producer listens to a table's producer and passes on to e.
func (m *metrics) producer(table string, e producer.Events) producer.Events {
	sent, bytes, rejected := m.sent.WithLabelValues(table), m.sentBytes.WithLabelValues(table), m.rejected.WithLabelValues(table)
	e.Sent = also(e.Sent, func(s producer.SentInfo) {
		sent.Add(float64(s.Rows))
		bytes.Add(float64(s.Bytes))
	})
	e.Rejected = also(e.Rejected, func(producer.Rejected) { rejected.Inc() })
	return e
}

// consumer listens to a table's consumer and passes on to e.
func (m *metrics) consumer(table string, e consumer.Events) consumer.Events {
	// Series are there from the start, so that a first increase can be seen.
	committed, filtered := m.committed.WithLabelValues(table), m.filtered.WithLabelValues(table)
	duplicates, rescued := m.duplicates.WithLabelValues(table), m.rescued.WithLabelValues(table)
	files, fileBytes := m.files.WithLabelValues(table), m.fileBytes.WithLabelValues(table)
	won, lost := m.commits.WithLabelValues(table, "won"), m.commits.WithLabelValues(table, "lost")
	offsets, conflicts, repaired := m.lostRows.WithLabelValues(table), m.conflicts.WithLabelValues(table), m.repaired.WithLabelValues(table)
	resets, rewinds := m.resets.WithLabelValues(table), m.rewinds.WithLabelValues(table)
	seconds, last := m.commitSeconds.WithLabelValues(table), m.lastCommit.WithLabelValues(table)

	e.Committed = also(e.Committed, func(c consumer.Commit) {
		committed.Add(float64(c.Rows))
		filtered.Add(float64(c.Filtered))
		duplicates.Add(float64(c.Duplicates))
		rescued.Add(float64(c.Rescued))
		files.Add(float64(c.Files))
		fileBytes.Add(float64(c.Bytes))
		for _, cause := range c.Causes {
			m.quarantined.WithLabelValues(table, cause.Rule).Add(float64(cause.Rows))
		}
		won.Inc()
		seconds.Observe(c.Took.Seconds())
		last.SetToCurrentTime()
	})
	e.Evolved = also2(e.Evolved, func(version int64, changes []schema.Change) {
		m.schemaVersion.WithLabelValues(table).Set(float64(version))
		for _, c := range changes {
			m.schemaChanges.WithLabelValues(table, c.Kind).Inc()
		}
	})
	e.Deviated = also2(e.Deviated, func(_ int, deviations []schema.Deviation) {
		for _, d := range deviations {
			m.deviations.WithLabelValues(table, string(d.Kind), d.Policy.String()).Add(float64(d.Count))
		}
	})
	e.Gap = also(e.Gap, func(g consumer.Gap) {
		if len(g.Files) > 0 {
			offsets.Add(float64(g.Rows))
		} else {
			offsets.Add(float64(g.To - g.From))
		}
	})
	conflict := e.Conflict
	e.Conflict = func(partition int, offset int64, stream schema.StreamID, row int64) {
		conflicts.Inc()
		if conflict != nil {
			conflict(partition, offset, stream, row)
		}
	}
	e.Lost = also2(e.Lost, func(int, int64) { lost.Inc() })
	e.Reset = also3(e.Reset, func(int, string, string) { resets.Inc() })
	e.Rewound = also3(e.Rewound, func(int, int64, int64) { rewinds.Inc() })
	e.Repaired = also3(e.Repaired, func(_ int, _ int64, files []string) { repaired.Add(float64(len(files))) })
	return e
}

// also calls both; the first may be nil. also2 and also3 are the same for more
// arguments.
func also[A any](first, then func(A)) func(A) {
	return func(a A) {
		if first != nil {
			first(a)
		}
		then(a)
	}
}

func also2[A, B any](first, then func(A, B)) func(A, B) {
	return func(a A, b B) {
		if first != nil {
			first(a, b)
		}
		then(a, b)
	}
}

func also3[A, B, C any](first, then func(A, B, C)) func(A, B, C) {
	return func(a A, b B, c C) {
		if first != nil {
			first(a, b, c)
		}
		then(a, b, c)
	}
}
