package cli

import (
	"context"
	"path/filepath"
	"strings"

	"lakefeed/sink"
	"lakefeed/sink/awsclient"
	"lakefeed/sink/dir"
	"lakefeed/sink/s3"
)

// Lake are the flags that say which lake.
type Lake struct {
	Lake  string `help:"Folder of the lake, or s3://bucket/prefix." default:"${default_lake}" placeholder:"DIR|URI" yaml:"lake"`
	State string `help:"Folder or s3://bucket/prefix of the lake's state, _lakefeed, where it is not to be in the lake." placeholder:"DIR|URI" yaml:"state"`
	Rate  int    `name:"s3-rate" env:"LAKEFEED_S3_RATE" help:"Requests a second to the lake's bucket, of this process, at most; 0 for any number." default:"1000" placeholder:"N" yaml:"s3_rate"`
}

// defaultLake is where a lake is that nobody names.
const defaultLake = "./lake"

// uploadShare is the part of --memory that parts of uploads in flight may take.
const uploadShare = 8

// store opens the lake's store to read it.
func (l *Lake) store(ctx context.Context, g *Globals) (sink.Store, error) {
	return l.open(ctx, g, 0, false)
}

// table opens a table of the lake to read it.
func (l *Lake) table(ctx context.Context, g *Globals, name string) (*sink.Table, error) {
	store, err := l.store(ctx, g)
	if err != nil {
		return nil, err
	}
	table, err := sink.ReadTable(ctx, store, name)
	if err == nil && table.Partitions() == 0 {
		err = table.CheckSet(ctx)
	}
	return table, err
}

// writable opens the lake's store to write into it, within a share of the memory
// of the process. A store that cannot hold a lake is refused.
func (l *Lake) writable(ctx context.Context, g *Globals, memory bytesFlag) (sink.Store, error) {
	return l.open(ctx, g, int64(memory)/uploadShare, true)
}

func (l *Lake) open(ctx context.Context, g *Globals, memory int64, write bool) (sink.Store, error) {
	if l.Rate < 0 {
		return nil, &usageError{"--s3-rate must be 1 or more, or 0 for any number"}
	}
	lake, err := place(ctx, g, "lake", l.Lake, l.Rate, memory, write)
	if err != nil {
		return nil, err
	}
	if l.State == "" {
		return lake, sink.CheckState(ctx, lake)
	}
	state, err := place(ctx, g, "state", l.State, l.Rate, memory, write)
	if err != nil {
		return nil, err
	}
	return sink.WithState(ctx, lake, state)
}

// place opens the store at a location, which is that of a lake or a state.
func place(ctx context.Context, g *Globals, what, location string, rate int, memory int64, write bool) (sink.Store, error) {
	if location == "" {
		return nil, emptyPlace(what)
	}
	if err := checkSecretless(what, location); err != nil {
		return nil, err
	}
	if !isBucket(location) {
		if strings.Contains(localPath(location), "://") {
			return nil, &usageError{what + " " + quote(location) + ": lakes are in folders and in S3 only; give a folder, such as --" + what + " ./lake, or s3://bucket/prefix"}
		}
		return dir.Open(localPath(location))
	}
	config, err := s3.ParseURI(location)
	if err != nil {
		return nil, &usageError{what + " " + err.Error()}
	}
	config.Memory = memory
	aws, err := awsclient.Load(ctx, awsclient.Options{Log: g.logger(), Rate: rate})
	if err != nil {
		return nil, err
	}
	store, err := s3.New(aws, config)
	if err != nil {
		return nil, err
	}
	if write {
		err = store.Probe(ctx)
	}
	return store, err
}

// emptyPlace is what is left of a script's variable that is not set: it is not the
// working folder.
func emptyPlace(what string) error {
	return &usageError{"the " + what + " is the empty text; name a folder (. is the working folder) or s3://bucket/prefix"}
}

func isBucket(location string) bool { return strings.HasPrefix(location, "s3://") }

// localPath is the path of a folder that may be given as a URI.
func localPath(location string) string { return strings.TrimPrefix(location, "file://") }

// kafkaDir is the folder of the embedded Kafka's log where none is named: in the
// state, or in the lake; "" when neither is a folder.
func (l *Lake) kafkaDir() string {
	in := l.Lake
	if l.State != "" {
		in = l.State
	}
	if isBucket(in) {
		return ""
	}
	return filepath.Join(localPath(in), sink.Root, "kafka")
}

// folder is where one of the lake's folders is, as DuckDB names it.
func (l *Lake) folder(name string) string {
	if isBucket(l.Lake) {
		return strings.TrimRight(l.Lake, "/") + "/" + name
	}
	return filepath.ToSlash(filepath.Join(localPath(l.Lake), name))
}
