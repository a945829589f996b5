package sink

// ComparedWith names what the rows of a lake were compared with.
type ComparedWith string

// What rows are compared with. Nothing: neither the topic nor its raw zone has them,
// or what they have cannot be compared.
const (
	WithTopic   ComparedWith = "topic"
	WithRawZone ComparedWith = "raw zone"
	WithNothing ComparedWith = "nothing"
)

// ComparedRange is a range of offsets, and what the lake's rows of it were compared
// with.
type ComparedRange struct {
	Chain string       `json:"chain"` // topic and topic partition, as feed/0
	Log   string       `json:"log"`   // which incarnation of the topic
	From  int64        `json:"from"`  // offsets [from, to)
	To    int64        `json:"to"`
	With  ComparedWith `json:"with"`
	Why   string       `json:"why,omitempty"` // nothing was compared
}

// maxRanges is how many ranges a report names.
const maxRanges = 1000

// AddRange says what the next offsets of a chain were compared with.
func (r *AuditReport) AddRange(next ComparedRange) {
	if next.From >= next.To {
		return
	}
	r.count(func(r *AuditReport) {
		if n := len(r.Ranges); n > 0 {
			last := &r.Ranges[n-1]
			if merged := *last; merged.To == next.From {
				merged.From, merged.To = next.From, next.To
				if merged == next {
					last.To = next.To
					return
				}
			}
		}
		if len(r.Ranges) == maxRanges {
			r.RangesLeft++
			return
		}
		r.Ranges = append(r.Ranges, next)
	})
}

// CountCompared adds rows that were compared with the topic and with its raw zone, and
// streams that were by their hash.
func (r *AuditReport) CountCompared(topic, raw, streams int64) {
	r.count(func(r *AuditReport) {
		r.Compared, r.ComparedRaw, r.Hashed = r.Compared+topic, r.ComparedRaw+raw, r.Hashed+streams
	})
}
