package cli

import (
	"strings"

	"lakefeed/sink"
	"lakefeed/sink/dir"
)

// Lake are the flags that say which lake.
type Lake struct {
	Lake string `help:"Folder of the lake." default:"${default_lake}" placeholder:"DIR" yaml:"lake"`
}

// defaultLake is where a lake is that nobody names.
const defaultLake = "./lake"

// store opens the lake's store.
func (l *Lake) store() (sink.Store, error) {
	if scheme, _, found := strings.Cut(l.Lake, "://"); found {
		if scheme != "file" {
			return nil, &usageError{"lake " + quote(l.Lake) + ": this lakefeed writes to folders only; give a folder, for example --lake ./lake"}
		}
		l.Lake = strings.TrimPrefix(l.Lake, "file://")
	}
	return dir.Open(l.Lake)
}
