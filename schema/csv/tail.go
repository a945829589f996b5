package csv

// Tail is a range of bytes behind a table that holds no rows of it, counted as
// Row.From is. The zero Tail is none. It has an end, so that rows which are
// appended to the object later are rows.
type Tail struct {
	From int64  `json:"from,omitempty"`
	To   int64  `json:"to,omitempty"`
	Rule string `json:"rule,omitempty"` // Footer or SecondTable
}

// holds says whether a line that begins at offset is in the tail.
func (t Tail) holds(offset int64) bool { return offset < t.To && offset >= t.From }

// mostRemarks is how many remarks may stand behind a table.
const mostRemarks = 200

// footer finds the line behind which there are only remarks, -1 where there is
// none: lines of one filled cell, a text, of which the rows before have none or
// hardly any.
func (c *candidate) footer(lines []line, body int) int {
	if c.width < 2 || len(lines) <= body {
		return -1
	}
	remarks := 0
	remark := func(l line) bool {
		switch {
		case l.filled == 0:
			return true
		case l.rule != "" || l.filled > 1 || l.width() > 1 && (c.width == 2 || l.width() != c.width):
			return false
		}
		cells := c.cellsAt(l)
		if classify(cells[0].Text) != classText {
			return false
		}
		remarks++
		return true
	}
	at := len(lines)
	for at > body && remark(lines[at-1]) {
		if at--; remarks > mostRemarks {
			return -1
		}
	}
	// What stands behind the last blank line, and is remarks for the most part, is
	// remarks: one may have as many delimiters as a row.
	for i := at - 1; i > body && i >= len(lines)-2*remarks; i-- {
		if lines[i].gap {
			at = i
			break
		}
	}
	if remarks == 0 || at == body {
		return -1
	}
	sparse := 0
	body = max(body, at-10*mostRemarks)
	for _, l := range lines[body:at] {
		if l.filled > 0 && remark(l) {
			sparse++
		}
	}
	if sparse*50 > at-body {
		return -1
	}
	return at
}
