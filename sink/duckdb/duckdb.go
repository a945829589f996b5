// Package duckdb asks DuckDB, as a program beside this one, about the files of a
// lake.
package duckdb

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"

	"lakefeed/sink/query"
)

// View is a table of the lake, for which DuckDB gets a view.
type View struct {
	Name   string
	Folder string // path or s3:// URI
}

// Engine is a DuckDB program: its command line, or deploy/duckdb, which takes the
// same flags.
type Engine struct {
	Path     string // of the program
	Views    []View
	S3       bool   // the folders are in S3
	Endpoint string // of S3, where it is not AWS's
}

// The flags that the program is called with: statements come on standard input, so
// that none is in the list of processes.
func flags(null string) []string {
	return []string{"-init", os.DevNull, "-bail", "-csv", "-header", "-nullvalue", null}
}

// Query runs one statement.
func (e *Engine) Query(ctx context.Context, sql string, out query.Writer) error {
	if strings.HasPrefix(strings.TrimSpace(sql), ".") {
		return &query.Error{Engine: "DuckDB", Message: "a statement of SQL is wanted, and not a command of DuckDB's shell", User: true}
	}
	null := "null-" + rand.Text() // no cell has this text
	cmd := exec.CommandContext(ctx, e.Path, flags(null)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(), e.environment()...)
	cmd.Stdin = strings.NewReader(e.prelude() + strings.TrimRight(strings.TrimSpace(sql), ";") + "\n;\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", e.Path, err)
	}
	readErr := read(stdout, null, out)
	if readErr != nil {
		cmd.Process.Kill() // nobody reads on
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case readErr != nil:
		return readErr
	case errors.As(err, &exit):
		return &query.Error{Engine: "DuckDB", Message: strings.TrimSpace(stderr.String()), User: !strings.Contains(stderr.String(), "IO Error") && !strings.Contains(stderr.String(), "HTTP Error")}
	case err != nil:
		return fmt.Errorf("run %s: %w", e.Path, err)
	}
	return nil
}

// environment is what DuckDB's httpfs finds S3 by, beside the variables of AWS.
func (e *Engine) environment() []string {
	if e.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(e.Endpoint)
	if err != nil {
		return nil
	}
	return []string{"DUCKDB_S3_ENDPOINT=" + u.Host, "DUCKDB_S3_USE_SSL=" + fmt.Sprint(u.Scheme == "https")}
}

// prelude makes the views. The same statements work in any DuckDB.
func (e *Engine) prelude() string {
	var b strings.Builder
	if e.S3 {
		b.WriteString("INSTALL httpfs;\nLOAD httpfs;\n")
		if e.Endpoint != "" {
			b.WriteString("SET s3_url_style='path';\n")
		}
	}
	for _, v := range e.Views {
		b.WriteString("CREATE VIEW " + name(v.Name) + " AS SELECT * FROM " + Scan(v.Folder) + ";\n")
	}
	return b.String()
}

// Scan is the table function that reads all files of a folder.
func Scan(folder string) string {
	return "read_parquet(" + text(escape(folder)+"/**/*.parquet") + ", hive_partitioning=true, union_by_name=true)"
}

// escape keeps a folder's characters from being those of a pattern.
func escape(folder string) string {
	return strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]").Replace(folder)
}

func name(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func text(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// read takes the CSV that the program prints to out. It is read here because cells
// must come through to the byte, which encoding/csv does not do for line ends.
func read(r io.Reader, null string, out query.Writer) error {
	in := &records{r: bufio.NewReaderSize(r, 1<<16)}
	header, err := in.next()
	if err == io.EOF { // a statement without a result
		return out.Columns(nil)
	}
	if err != nil {
		return err
	}
	columns := make([]query.Column, len(header))
	for i, n := range header {
		columns[i].Name = n
	}
	if err := out.Columns(columns); err != nil {
		return err
	}
	var values []any
	for {
		record, err := in.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		values = values[:0]
		for _, cell := range record {
			if cell == null {
				values = append(values, nil)
			} else {
				values = append(values, cell)
			}
		}
		if err := out.Row(values); err != nil {
			return err
		}
	}
}

// records splits CSV with quotes, commas and lines that end in LF or CRLF.
type records struct {
	r      *bufio.Reader
	record []string
}

// next is the next record, which belongs to the reader. io.EOF behind the last.
func (s *records) next() ([]string, error) {
	s.record = s.record[:0]
	var cell []byte
	quoted, started := false, false
	for {
		c, err := s.r.ReadByte()
		if err == io.EOF && (started || len(s.record) > 0) {
			return append(s.record, string(cell)), nil
		}
		if err != nil {
			return nil, err
		}
		switch {
		case quoted && c == '"':
			if next, err := s.r.Peek(1); err == nil && next[0] == '"' {
				cell = append(cell, '"')
				s.r.Discard(1)
			} else {
				quoted = false
			}
		case quoted:
			cell = append(cell, c)
		case c == '"':
			quoted = true
		case c == ',':
			s.record = append(s.record, string(cell))
			cell = cell[:0]
		case c == '\n':
			cell = bytes.TrimSuffix(cell, []byte("\r"))
			return append(s.record, string(cell)), nil
		default:
			cell = append(cell, c)
		}
		started = true
	}
}
