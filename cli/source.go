package cli

import (
	"context"
	"strings"

	"lakefeed/producer"
	"lakefeed/producer/s3source"
	"lakefeed/sink/awsclient"
)

// sources opens what the command line names.
func (f *Feed) sources(ctx context.Context, g *Globals, names []string) ([]producer.Source, error) {
	var out []producer.Source
	s3 := s3source.Options{SourceName: f.SourceName}
	for _, name := range names {
		if !strings.HasPrefix(name, s3source.Scheme) {
			s, err := producer.Local(name, producer.LocalOptions{Stdin: g.stdin, SourceName: f.SourceName, StreamName: f.Stream})
			if err != nil {
				return nil, &usageError{err.Error()}
			}
			out = append(out, s)
			continue
		}
		if s3.Client == nil {
			config, err := awsclient.Load(ctx, awsclient.Options{Log: g.logger()})
			if err != nil {
				return nil, err
			}
			if s3.Client, err = awsclient.S3(config); err != nil {
				return nil, err
			}
		}
		s, err := s3source.New(name, s3)
		if err != nil {
			return nil, &usageError{err.Error()}
		}
		out = append(out, s)
	}
	return out, nil
}

// isFolder says whether a source is a folder here, or called one on S3.
func isFolder(source string) bool {
	if strings.HasPrefix(source, s3source.Scheme) {
		return strings.HasSuffix(source, "/")
	}
	return isLocalFolder(source)
}
