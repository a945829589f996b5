package csv

// Explanation is what Sniff has weighed and what decided.
type Explanation struct {
	Encoding   string      `json:"encoding"` // why it is taken to be so
	LineEnds   LineEnds    `json:"line_ends"`
	Candidates []Candidate `json:"candidates"` // the likeliest first
	Header     string      `json:"header"`     // why there is one or not
	Columns    []Evidence  `json:"columns,omitempty"`
	Preamble   []Line      `json:"preamble,omitempty"` // the lines before the table, the first ones of many
	Ragged     []Line      `json:"ragged,omitempty"`   // rows that are not as wide as the table, the first ones of many
	Tail       []Line      `json:"tail,omitempty"`     // the lines behind the table, the first ones of many
}

// LineEnds counts line ends in a sample.
type LineEnds struct {
	LF   int `json:"lf"`
	CRLF int `json:"crlf"`
	CR   int `json:"cr"`
}

// Candidate is a dialect that the sample might be written in.
type Candidate struct {
	Dialect Dialect `json:"dialect"`
	Score   float64 `json:"score"` // of tables with more than one column the product of the next four, and of what is rare; one more where a record is a header of the feed
	Width   int     `json:"width"` // cells that most rows have
	Share   float64 `json:"share"` // of the rows between the first and the last of that width that have it
	Inside  float64 `json:"inside"`
	Worth   float64 `json:"worth"` // how much the cells look like values, and not like pieces cut in wrong places
	Rows    int     `json:"rows"`
}

// Evidence is what a column says of the header.
type Evidence struct {
	Name  string  `json:"name"`
	Score float64 `json:"score"` // above 0: its first cell looks like its name; below: like one more value
	Why   string  `json:"why"`
}

// Line is a line of the sample that decided something.
type Line struct {
	Number int64  `json:"line"`
	Text   string `json:"text"` // its beginning
	Cells  int    `json:"cells"`
}

// shownLines is how many lines of a kind an Explanation has, shownText how much
// of each.
const (
	shownLines = 10
	shownText  = 200
)
