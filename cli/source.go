package cli

import (
	"context"
	"strings"

	"lakefeed/producer"
	"lakefeed/producer/s3source"
	"lakefeed/sink/awsclient"
)

// openSources opens the feed's sources.
func (s *Settings) openSources(ctx context.Context, g *Globals) ([]producer.Source, error) {
	var out []producer.Source
	s3 := s3source.Options{SourceName: s.SourceName}
	if err := checkSecretless("--source-name", s.SourceName); err != nil {
		return nil, err
	}
	for _, name := range s.Sources {
		if err := checkSecretless("source", name); err != nil {
			return nil, err
		}
		if name == "" { // a variable of a script that is not set, and not the working folder
			return nil, &usageError{"a source is the empty text; name a file, a folder (. is the working folder), a glob or s3://bucket/prefix"}
		}
		if !strings.HasPrefix(name, s3source.Scheme) {
			source, err := producer.Local(name, producer.LocalOptions{Stdin: g.stdin, SourceName: s.SourceName, StreamName: s.Stream})
			if err != nil {
				return nil, &usageError{err.Error()}
			}
			out = append(out, source)
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
		source, err := s3source.New(name, s3)
		if err != nil {
			return nil, &usageError{err.Error()}
		}
		out = append(out, source)
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
