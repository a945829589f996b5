// Lakefeed-duckdb answers SQL with DuckDB, for `lakefeed query` where DuckDB's own
// program is not to be had. It takes those of that program's flags that lakefeed
// gives, reads statements from standard input, and prints the result of the last as
// CSV. It needs a C compiler to build, which is why it is a module of its own.
package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/big"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

func main() {
	null := flag.String("nullvalue", "", "text of null")
	flag.String("init", "", "ignored: nothing is read at the start")
	flag.Bool("bail", true, "ignored: the first error ends it")
	flag.Bool("csv", true, "ignored: the result is CSV")
	flag.Bool("header", true, "ignored: with a header")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdin, os.Stdout, *null); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run runs the statements on one connection, which is that of the views they make.
func run(ctx context.Context, in io.Reader, out io.Writer, null string) error {
	text, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read the statements: %w", err)
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// DuckDB runs all statements of a text and gives the result of the last.
	rows, err := conn.QueryContext(ctx, string(text))
	if err != nil {
		return err
	}
	defer rows.Close()
	return print(rows, out, null)
}

func print(rows *sql.Rows, out io.Writer, null string) error {
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	cells := make([]string, len(names))
	for i, n := range names {
		cells[i] = quote(n)
	}
	if len(names) > 0 {
		fmt.Fprintln(w, strings.Join(cells, ","))
	}
	values := make([]any, len(names))
	into := make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return errors.Join(err, w.Flush())
		}
		for i, v := range values {
			cells[i] = null
			if v != nil {
				cells[i] = quote(text(v, types[i].DatabaseTypeName()))
			}
		}
		fmt.Fprintln(w, strings.Join(cells, ","))
	}
	return errors.Join(rows.Err(), w.Flush())
}

// text is a value as DuckDB's program prints it; nested values are JSON.
func text(v any, typ string) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case time.Time:
		switch typ {
		case "DATE":
			return v.Format(time.DateOnly)
		case "TIME":
			return v.Format("15:04:05.999999")
		case "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE":
			return v.UTC().Format("2006-01-02 15:04:05.999999") + "+00"
		}
		return v.Format("2006-01-02 15:04:05.999999")
	case float64:
		return number(v, 64)
	case float32:
		return number(float64(v), 32)
	case duckdb.Decimal:
		return decimal(v)
	case duckdb.Map:
		members := make(map[string]any, len(v))
		for key, value := range v {
			members[fmt.Sprint(key)] = value
		}
		return nested(members)
	case map[string]any, []any:
		return nested(v)
	}
	return fmt.Sprint(v)
}

// number is the shortest text that gives a float back; an integral one has a .0.
func number(f float64, bits int) string {
	s := strconv.FormatFloat(f, 'f', -1, bits)
	if math.Abs(f) >= 1e15 {
		return strconv.FormatFloat(f, 'e', -1, bits)
	}
	if !strings.ContainsAny(s, ".NI") {
		s += ".0"
	}
	return s
}

// decimal has all digits of its scale, 2.50 of a decimal(10,2).
func decimal(d duckdb.Decimal) string {
	digits := new(big.Int).Abs(d.Value).String()
	if scale := int(d.Scale); scale > 0 {
		if missing := scale + 1 - len(digits); missing > 0 {
			digits = strings.Repeat("0", missing) + digits
		}
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if d.Value.Sign() < 0 {
		return "-" + digits
	}
	return digits
}

func nested(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func quote(s string) string {
	if strings.ContainsAny(s, "\",\r\n") || s == "" {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}
