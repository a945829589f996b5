// Package athena asks AWS Athena.
package athena

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"

	"lakefeed/sink/awsclient"
	"lakefeed/sink/query"
)

// Engine is Athena with the settings of a session.
type Engine struct {
	Database  string
	Workgroup string // empty: the account's primary one
	Output    string // s3://bucket/prefix for results; empty: the work group's
	Log       *slog.Logger
}

// pollFirst and pollMost are how often a query is asked after.
const (
	pollFirst = 100 * time.Millisecond
	pollMost  = 2 * time.Second
)

// Query runs one statement. When ctx ends the query is stopped.
func (e *Engine) Query(ctx context.Context, sql string, out query.Writer) error {
	cfg, err := awsclient.Load(ctx, awsclient.Options{Log: e.Log, Patience: 20 * time.Second})
	if err != nil {
		return err
	}
	client, err := awsclient.Athena(cfg)
	if err != nil {
		return err
	}
	id, err := e.start(ctx, client, sql)
	if err != nil {
		return err
	}
	statement, err := e.wait(ctx, client, id)
	if err == nil {
		return e.results(ctx, client, id, statement, out)
	}
	if ctx.Err() != nil {
		stop, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer done()
		if _, e := client.StopQueryExecution(stop, &api.StopQueryExecutionInput{QueryExecutionId: &id}); e != nil {
			return errors.Join(err, fmt.Errorf("stop query %s, which goes on in Athena: %w", id, awsclient.Explain(e, "Athena query "+id)))
		}
	}
	return err
}

func (e *Engine) workgroup() string {
	if e.Workgroup == "" {
		return "primary"
	}
	return e.Workgroup
}

func (e *Engine) start(ctx context.Context, client *api.Client, sql string) (id string, err error) {
	in := &api.StartQueryExecutionInput{QueryString: &sql, QueryExecutionContext: &types.QueryExecutionContext{}}
	if e.Database != "" {
		in.QueryExecutionContext.Database = &e.Database
	}
	if e.Workgroup != "" {
		in.WorkGroup = &e.Workgroup
	}
	if e.Output != "" {
		in.ResultConfiguration = &types.ResultConfiguration{OutputLocation: &e.Output}
	}
	out, err := client.StartQueryExecution(ctx, in)
	if _, invalid := errors.AsType[*types.InvalidRequestException](err); invalid {
		return "", &query.Error{Engine: "Athena", Message: awsMessage(err), User: true}
	}
	if err != nil {
		return "", fmt.Errorf("query with Athena: %w", awsclient.Explain(err, "Athena work group "+e.workgroup()))
	}
	return aws.ToString(out.QueryExecutionId), nil
}

func awsMessage(err error) string {
	if e, ok := errors.AsType[*types.InvalidRequestException](err); ok {
		return e.ErrorMessage()
	}
	return err.Error()
}

// wait waits for the query's end.
func (e *Engine) wait(ctx context.Context, client *api.Client, id string) (types.StatementType, error) {
	for pause := pollFirst; ; pause = min(pollMost, pause*3/2) {
		out, err := client.GetQueryExecution(ctx, &api.GetQueryExecutionInput{QueryExecutionId: &id})
		if err != nil {
			return "", fmt.Errorf("query with Athena: %w", awsclient.Explain(err, "Athena work group "+e.workgroup()))
		}
		q := out.QueryExecution
		if q != nil && q.Status != nil {
			switch q.Status.State {
			case types.QueryExecutionStateSucceeded:
				return q.StatementType, nil
			case types.QueryExecutionStateFailed, types.QueryExecutionStateCancelled:
				return "", failure(id, q.Status)
			}
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
	}
}

// userError is the category of errors that the statement is to blame for.
const userError = 2

func failure(id string, s *types.QueryExecutionStatus) error {
	text := aws.ToString(s.StateChangeReason)
	if text == "" && s.AthenaError != nil {
		text = aws.ToString(s.AthenaError.ErrorMessage)
	}
	if s.State == types.QueryExecutionStateCancelled {
		text = "the query was cancelled " + text
	}
	user := s.AthenaError != nil && aws.ToInt32(s.AthenaError.ErrorCategory) == userError
	return &query.Error{Engine: "Athena", Message: fmt.Sprintf("%s (query %s)", text, id), User: user}
}

// results hands over the rows, page by page.
func (e *Engine) results(ctx context.Context, client *api.Client, id string, statement types.StatementType, out query.Writer) error {
	pages := api.NewGetQueryResultsPaginator(client, &api.GetQueryResultsInput{QueryExecutionId: &id})
	var columns []types.ColumnInfo
	var values []any
	for first := true; pages.HasMorePages(); first = false {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("read the result of query %s from Athena: %w", id, awsclient.Explain(err, "Athena query "+id))
		}
		rows := page.ResultSet.Rows
		if first {
			if page.ResultSet.ResultSetMetadata != nil {
				columns = page.ResultSet.ResultSetMetadata.ColumnInfo
			}
			named := make([]query.Column, len(columns))
			for i, c := range columns {
				named[i] = query.Column{Name: aws.ToString(c.Name), Type: aws.ToString(c.Type)}
			}
			if err := out.Columns(named); err != nil {
				return err
			}
			if statement == types.StatementTypeDml && len(rows) > 0 && isHeader(rows[0], columns) {
				rows = rows[1:]
			}
		}
		for _, row := range rows {
			values = values[:0]
			for i, d := range row.Data {
				typ := ""
				if i < len(columns) {
					typ = aws.ToString(columns[i].Type)
				}
				values = append(values, value(d.VarCharValue, typ))
			}
			if err := out.Row(values); err != nil {
				return err
			}
		}
	}
	return nil
}

// isHeader says whether a row has the columns' names: the first row of a SELECT
// has.
func isHeader(row types.Row, columns []types.ColumnInfo) bool {
	for i, c := range columns {
		if i >= len(row.Data) || aws.ToString(row.Data[i].VarCharValue) != aws.ToString(c.Name) {
			return false
		}
	}
	return len(columns) > 0
}

// value is a cell, which Athena gives as text.
func value(text *string, typ string) any {
	if text == nil {
		return nil
	}
	switch typ {
	case "boolean":
		return *text == "true"
	case "tinyint", "smallint", "integer", "bigint", "float", "real", "double":
		return query.Number(*text)
	case "json":
		if json.Valid([]byte(*text)) {
			return json.RawMessage(*text)
		}
	}
	return *text
}
