package cli

import "lakefeed/cli/config"

// readSound reads the file for a run of its feeds: those that have a fault do not keep
// the others from it, as long as the fault is in that feed alone.
func (c *ConfigFile) readSound() (*fileSettings, error) {
	name, text, err := c.text()
	if name == "" || err != nil {
		return nil, err
	}
	f, whole := parseConfig(name, text)
	if whole == nil {
		return f, nil
	}
	feeds := feedsOf(name, text)
	broken, without := map[string]error{}, map[int]bool{}
	for i := range feeds {
		others := everyFeed(feeds)
		delete(others, i)
		if _, err := parseConfigWithout(name, text, others); err != nil {
			if feeds[i].Table == "" {
				return nil, whole // there is nothing to call it by
			}
			broken[feeds[i].Table], without[i] = err, true
		}
	}
	if len(without) == 0 || len(without) == len(feeds) {
		return nil, whole
	}
	if f, err = parseConfigWithout(name, text, without); err != nil {
		return nil, whole
	}
	for i := range f.Feeds {
		if !without[i] && broken[f.Feeds[i].Table] != nil { // of one name
			return nil, whole
		}
	}
	f.broken = broken
	return f, nil
}

// readShared reads the file for what its feeds share. They may have faults of their own.
func (c *ConfigFile) readShared() (*fileSettings, error) {
	name, text, err := c.text()
	if name == "" || err != nil {
		return nil, err
	}
	f, whole := parseConfig(name, text)
	if whole == nil {
		return f, nil
	}
	without := everyFeed(feedsOf(name, text))
	if len(without) == 0 {
		return nil, whole
	}
	if f, err = parseConfigWithout(name, text, without); err != nil {
		return nil, whole
	}
	return f, nil
}

// feedsOf are the feeds of a file that may have faults, as far as they can be read.
func feedsOf(name string, text []byte) []feedSettings {
	f := &fileSettings{}
	config.Decode(name, text, f)
	return f.Feeds
}

// everyFeed has the places of all feeds in their file.
func everyFeed(feeds []feedSettings) map[int]bool {
	all := make(map[int]bool, len(feeds))
	for i := range feeds {
		all[i] = true
	}
	return all
}
