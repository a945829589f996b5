package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Tables are the names of the tables that a lake has, in order. It asks for each once,
// however much the lake has of it.
func Tables(ctx context.Context, store Store) (names []string, err error) {
	for after := ""; ; {
		name := ""
		for o, err := range store.List(ctx, Root+"/", after) {
			if err != nil {
				return nil, fmt.Errorf("list the tables of %s: %w", store, err)
			}
			after = o.Key
			name, _, _ = strings.Cut(strings.TrimPrefix(o.Key, Root+"/"), "/")
			break
		}
		if name == "" {
			return names, nil
		}
		switch _, err := store.Stat(ctx, Root+"/"+name+"/table.json"); {
		case err == nil:
			names = append(names, name)
			after = Root + "/" + name + "0" // behind all of it: 0 follows /
		case !errors.Is(err, ErrNotExist):
			return nil, fmt.Errorf("list the tables of %s: %w", store, err)
		case strings.HasPrefix(after, Root+"/"+name+"/"):
			after = Root + "/" + name + "0"
		}
	}
}
