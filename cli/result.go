package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"

	"lakefeed/sink/query"
)

// resultWriter prints a query's result as it comes.
type resultWriter interface {
	query.Writer
	// end prints what is left, and gives the number of rows.
	end() (rows int64, err error)
}

func newResultWriter(format string, out io.Writer) resultWriter {
	w := bufio.NewWriterSize(out, 1<<16)
	switch format {
	case "csv":
		return &csvResult{w: w}
	case "json":
		return &jsonResult{w: w}
	}
	return &tableResult{w: w, width: terminalWidth(out)}
}

// terminalWidth is how many cells a line of a terminal has; 0 where out is none.
func terminalWidth(out io.Writer) int {
	f, ok := out.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// valueText is a value as text; null is told apart by the caller.
func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case json.RawMessage:
		return string(v)
	}
	return fmt.Sprint(v)
}

// csvResult prints RFC 4180, where nothing is null and "" the empty string.
type csvResult struct {
	w    *bufio.Writer
	rows int64
}

func (r *csvResult) Columns(columns []query.Column) error {
	for i, c := range columns {
		r.cell(i, c.Name, len(columns) == 1)
	}
	if len(columns) == 0 {
		return nil
	}
	return r.w.WriteByte('\n')
}

func (r *csvResult) Row(values []any) error {
	for i, v := range values {
		if v == nil {
			if i > 0 {
				r.w.WriteByte(',')
			}
			continue
		}
		text := valueText(v)
		r.cell(i, text, text == "")
	}
	r.rows++
	return r.w.WriteByte('\n')
}

func (r *csvResult) cell(i int, text string, quoted bool) {
	if i > 0 {
		r.w.WriteByte(',')
	}
	if quoted && text == "" || strings.ContainsAny(text, "\",\r\n") {
		text = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
	}
	r.w.WriteString(text)
}

func (r *csvResult) end() (int64, error) { return r.rows, r.w.Flush() }

// jsonResult prints one array of objects, whose members are in the columns' order.
type jsonResult struct {
	w    *bufio.Writer
	keys [][]byte
	rows int64
}

func (r *jsonResult) Columns(columns []query.Column) error {
	for _, c := range columns {
		key, err := json.Marshal(c.Name)
		if err != nil {
			return err
		}
		r.keys = append(r.keys, append(key, ':'))
	}
	return r.w.WriteByte('[')
}

func (r *jsonResult) Row(values []any) error {
	if r.rows++; r.rows > 1 {
		r.w.WriteByte(',')
	}
	r.w.WriteString("\n{")
	for i, v := range values {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if i > 0 {
			r.w.WriteByte(',')
		}
		if i < len(r.keys) {
			r.w.Write(r.keys[i])
		}
		r.w.Write(b)
	}
	return r.w.WriteByte('}')
}

func (r *jsonResult) end() (int64, error) {
	r.w.WriteString("\n]\n")
	return r.rows, r.w.Flush()
}

// blockRows is how many rows are aligned together: a result is not held whole.
const blockRows = 500

// leastWidth is how narrow a column is made at most for all to fit the terminal.
const leastWidth = 12

// tableResult prints aligned columns. Null is NULL, and text that could be taken
// for it, or for nothing, is in quotes.
type tableResult struct {
	w       *bufio.Writer
	width   int // of the terminal; 0: lines may have any length
	names   []string
	widths  []int
	right   []bool // numbers
	block   [][]string
	headed  bool
	rows    int64
	decided bool
}

func (r *tableResult) Columns(columns []query.Column) error {
	for _, c := range columns {
		r.names = append(r.names, cellText(c.Name))
		r.widths = append(r.widths, runewidth.StringWidth(r.names[len(r.names)-1]))
		r.right = append(r.right, true)
	}
	return nil
}

func (r *tableResult) Row(values []any) error {
	row := make([]string, len(values))
	for i, v := range values {
		row[i] = tableText(v)
		if i < len(r.widths) {
			r.widths[i] = max(r.widths[i], runewidth.StringWidth(row[i]))
			if v != nil && !r.decided && !isNumber(row[i]) {
				r.right[i] = false
			}
		}
	}
	r.block = append(r.block, row)
	r.rows++
	if len(r.block) == blockRows {
		return r.print()
	}
	return nil
}

func (r *tableResult) end() (int64, error) {
	if err := r.print(); err != nil {
		return r.rows, err
	}
	return r.rows, r.w.Flush()
}

// print prints the rows of the block, and the header before the first.
func (r *tableResult) print() error {
	widths := r.fit()
	if !r.headed && len(r.names) > 0 {
		r.headed = true
		r.line(r.names, widths)
		rule := make([]string, len(widths))
		for i, n := range widths {
			rule[i] = strings.Repeat("-", n)
		}
		r.line(rule, widths)
	}
	for _, row := range r.block {
		r.line(row, widths)
	}
	r.block, r.decided = r.block[:0], true
	return r.w.Flush()
}

// fit narrows the widest columns until a line fits the terminal.
func (r *tableResult) fit() []int {
	widths := append([]int{}, r.widths...)
	if r.width == 0 || len(widths) == 0 {
		return widths
	}
	total := 2 * (len(widths) - 1)
	for _, n := range widths {
		total += n
	}
	for total > r.width {
		widest := 0
		for i, n := range widths {
			if n > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= leastWidth {
			break
		}
		widths[widest]--
		total--
	}
	return widths
}

func (r *tableResult) line(cells []string, widths []int) {
	var b strings.Builder
	for i, c := range cells {
		if i > 0 {
			b.WriteString("  ")
		}
		if i >= len(widths) {
			b.WriteString(c)
			continue
		}
		c = runewidth.Truncate(c, widths[i], "…")
		switch pad := strings.Repeat(" ", max(0, widths[i]-runewidth.StringWidth(c))); {
		case r.right[i]:
			b.WriteString(pad + c)
		default:
			b.WriteString(c + pad)
		}
	}
	text := strings.TrimRight(b.String(), " ")
	if r.width > 0 {
		text = runewidth.Truncate(text, r.width, "…")
	}
	r.w.WriteString(text + "\n")
}

func tableText(v any) string {
	if v == nil {
		return "NULL"
	}
	text := valueText(v)
	if _, isText := v.(string); isText && (text == "" || text == "NULL") {
		return `"` + text + `"`
	}
	return cellText(text)
}

// cellText keeps a cell on its line, and from commanding the terminal.
func cellText(s string) string {
	if strings.IndexFunc(s, unicode.IsControl) < 0 {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case unicode.IsControl(c):
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

func isNumber(s string) bool {
	return s != "" && strings.ContainsAny(s[:1], "-0123456789") && json.Valid([]byte(s))
}
