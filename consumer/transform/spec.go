// Package transform makes the records of a table from the rows of a feed, as a
// configuration declares: a list of steps, compiled and type-checked once for each
// version of the feed's columns, and run over a batch of typed columns at a time.
//
// The same row always makes the same record: nothing here reads a clock, a file or
// the network, and nothing depends on the rows beside it.
package transform

import (
	"fmt"
	"slices"
	"strings"
)

// Spec is a list of steps, in the order in which they run. A column is called by its
// name in the table that the step sees.
type Spec []*Step

// Step is one step. One of its verbs is set; the other fields say how it works.
type Step struct {
	// Name is what messages call the step; empty for its place and verb.
	Name string `yaml:"name" json:"name,omitempty" help:"What messages call the step."`

	// Rename gives columns new names: old: new.
	Rename map[string]string `yaml:"rename" json:"rename,omitempty" help:"New names of columns, old: new."`
	// Drop takes columns out, Keep all but some.
	Drop []string `yaml:"drop" json:"drop,omitempty" help:"Columns to leave out."`
	Keep []string `yaml:"keep" json:"keep,omitempty" help:"Columns to keep; all others are left out."`
	// Cast gives columns another type.
	Cast map[string]string `yaml:"cast" json:"cast,omitempty" help:"Types of columns, with the format of their text: amount: decimal(12,2), day: date d/m/y."`
	// Set makes columns by expressions, all of which see the columns before the step.
	Set map[string]string `yaml:"set" json:"set,omitempty" help:"Columns made by expressions: total: amount * qty."`
	// Where keeps the rows for which the expression is true.
	Where string `yaml:"where" json:"where,omitempty" help:"An expression; rows for which it is not true are left out."`
	// Fill gives values to nulls.
	Fill map[string]Literal `yaml:"fill" json:"fill,omitempty" help:"Values for nulls, as the feed would write them."`
	// Trim takes white space off the ends of text; Lower and Upper change its case.
	Trim  []string `yaml:"trim" json:"trim,omitempty" help:"Text columns to take white space off, at both ends."`
	Lower []string `yaml:"lower" json:"lower,omitempty" help:"Text columns to turn to lower case."`
	Upper []string `yaml:"upper" json:"upper,omitempty" help:"Text columns to turn to upper case."`
	// Parse reads dates and timestamps from text.
	Parse map[string]*Parse `yaml:"parse" json:"parse,omitempty" help:"Text columns to read dates and timestamps from."`
	// Split takes text apart.
	Split map[string]*Split `yaml:"split" json:"split,omitempty" help:"Text columns to take apart."`
	// Map looks values up.
	Map map[string]*Lookup `yaml:"map" json:"map,omitempty" help:"Columns whose values are looked up."`
	// Mask hides values: hmac, redact, keep-last-N or drop.
	Mask map[string]string `yaml:"mask" json:"mask,omitempty" help:"Columns to hide: hmac, redact, keep-last-N or drop."`
	// JSON takes columns out of JSON text.
	JSON map[string]*JSON `yaml:"json" json:"json,omitempty" help:"Text columns of JSON to take columns out of."`

	// Key is that of hmac. Only where it is found is part of a configuration.
	Key *Key `yaml:"key" json:"key,omitempty" help:"Where the key of hmac is. Default: the environment variable LAKEFEED_MASK_KEY."`
	// Reveal names columns that are made of a masked one and may be shown.
	Reveal []string `yaml:"reveal" json:"reveal,omitempty" help:"Columns made of a masked one that may be shown."`
	// OnError says what becomes of a row that the step fails for: OnErrorQuarantine,
	// which is the default, or OnErrorNull.
	OnError string `yaml:"on_error" json:"on_error,omitempty" help:"What a value does that the step fails for: quarantine puts its row there, null makes it null. Default: quarantine."`
}

// What becomes of a row that a step fails for.
const (
	OnErrorQuarantine = "quarantine"
	OnErrorNull       = "null"
)

// Literal is a value as text, however the configuration writes it: 0, "0" and true.
type Literal string

// UnmarshalText takes any text.
func (l *Literal) UnmarshalText(b []byte) error {
	*l = Literal(b)
	return nil
}

// Parse says how a date or a timestamp is written.
type Parse struct {
	// Formats are tried in order: %Y-%m-%d %H:%M:%S and so on.
	Formats []string `yaml:"formats" json:"formats" help:"How the text is written, in strftime's letters; tried in order."`
	// Zone is where a wall clock without an offset is read; the column then holds instants.
	Zone string `yaml:"zone" json:"zone,omitempty" help:"Time zone of the text, such as Europe/Berlin: the column becomes an instant in UTC."`
	// As is date or timestamp; empty for what the formats have.
	As string `yaml:"as" json:"as,omitempty" help:"date or timestamp. Default: timestamp if a format has hours."`
}

// Split says how text is taken apart.
type Split struct {
	By   string   `yaml:"by" json:"by" help:"The text between the parts."`
	Into []string `yaml:"into" json:"into" help:"Columns of the parts; the last takes what is left."`
}

// Lookup is a table of values.
type Lookup struct {
	// Values are the table itself.
	Values map[string]Literal `yaml:"values" json:"values,omitempty" help:"The values: from: to."`
	// File is a CSV or Parquet file that has it, in the columns Key and Value.
	File  string `yaml:"file" json:"file,omitempty" help:"A CSV or Parquet file with the values."`
	Key   string `yaml:"key" json:"key,omitempty" help:"Its column to look up in. Default: the column's name."`
	Value string `yaml:"value" json:"value,omitempty" help:"Its column to take the values from."`
	// Path is where the file is, for who reads it.
	Path string `yaml:"-" json:"-"`
	// SHA256 is that of the file whose values these are.
	SHA256 string `yaml:"-" json:"sha256,omitempty"`
	// Into is the column that takes what was found; empty for the column itself.
	Into string `yaml:"into" json:"into,omitempty" help:"Column for what was found. Default: the column itself."`
	// Missing says what a value that is not there becomes: "null" (the default), "keep" or "error".
	Missing string `yaml:"missing" json:"missing,omitempty" help:"What a value becomes that is not there: null, keep or error. Default: null."`
}

// JSON are columns to be taken out of JSON text.
type JSON struct {
	Columns map[string]*JSONColumn `yaml:"columns" json:"columns" help:"The columns."`
}

// JSONColumn is one of them.
type JSONColumn struct {
	// Path leads to the value, keys and places with dots between; empty for the column's name.
	Path string `yaml:"path" json:"path,omitempty" help:"Keys that lead to the value, dots between: user.id, items.0.sku. Default: the column's name."`
	Type string `yaml:"type" json:"type,omitempty" help:"Its type. Default: string."`
}

// Key says where a secret is. It is never part of what is stored.
type Key struct {
	Env  string `yaml:"env" json:"env,omitempty" help:"Environment variable that has the key."`
	File string `yaml:"file" json:"file,omitempty" help:"File that has the key."`
	// Print tells one key from another, and nothing else of it.
	Print string `yaml:"-" json:"print,omitempty"`
	// Secret is the key.
	Secret []byte `yaml:"-" json:"-"`
}

// DefaultKeyEnv is the environment variable that has the key of hmac where none is
// named.
const DefaultKeyEnv = "LAKEFEED_MASK_KEY"

// Hmac is the way to mask by a keyed hash.
const Hmac = "hmac"

// Masks says whether any step masks a column.
func (s Spec) Masks() bool {
	return slices.ContainsFunc(s, func(step *Step) bool { return len(step.Mask) > 0 })
}

// A Fault is one thing that is wrong with a spec.
type Fault struct {
	// Step is its step's place in the list.
	Step int
	// Of points to what is wrong in the spec: a field of the step or of what it holds.
	// Key is the entry of the map, or the element of the list of texts, that Of points to.
	Of  any
	Key string
	// Offset and Width are where in an expression's text it is, in characters; Width
	// is 0 where it is all of it.
	Offset, Width int
	Text          string // the expression
	Message       string
	Hint          string // what to do; may be empty
	// Bare is set where all that is wrong with the step is that it has no verb.
	Bare bool
}

// Faults are all that is wrong with a spec.
type Faults []Fault

// Error gives each fault, with a caret below where it is in an expression.
func (f Faults) Error() string {
	var lines []string
	for _, one := range f {
		lines = append(lines, one.String())
	}
	return strings.Join(lines, "\n")
}

// String gives the fault with its expression, where it has one.
func (f Fault) String() string {
	out := fmt.Sprintf("transform[%d]: %s", f.Step, f.Message)
	if f.Width > 0 && !strings.Contains(f.Text, "\n") {
		out += "\n  | " + f.Text + "\n  | " + strings.Repeat(" ", f.Offset) + strings.Repeat("^", f.Width)
	}
	if f.Hint != "" {
		out += "\n  = " + f.Hint
	}
	return out
}
