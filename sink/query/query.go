// Package query is what the engines that answer SQL have in common: how they hand
// over a result, and which errors they give.
package query

import (
	"encoding/json"
	"errors"
)

// Column is a column of a result.
type Column struct {
	Name string
	Type string // as the engine calls it; empty where it does not say
}

// Writer takes a result as it comes. An error of its ends the query.
type Writer interface {
	// Columns comes once, before the rows.
	Columns(columns []Column) error
	// Row is one row; values belongs to the caller again afterwards. They are nil,
	// bool, json.Number, string, or json.RawMessage of an array or object. Numbers
	// that JSON does not have, and decimals, are strings.
	Row(values []any) error
}

// Error is a statement's failure, as the engine puts it.
type Error struct {
	Engine  string
	Message string
	User    bool // the statement is wrong, and not the engine
}

func (e *Error) Error() string { return "query with " + e.Engine + ": " + e.Message }

// ErrUnreachable says that the engine does not answer.
var ErrUnreachable = errors.New("engine not reachable")

// Number gives the text of a number as a value: as a string where JSON has no such
// number.
func Number(text string) any {
	if json.Valid([]byte(text)) {
		return json.Number(text)
	}
	return text
}
