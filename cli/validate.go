package cli

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	"lakefeed/schema"
)

type validateCommand struct {
	ConfigFile
	Output
}

// validated is what a file without faults has.
type validated struct {
	File  string          `json:"file"`
	Lake  string          `json:"lake"`
	Kafka string          `json:"kafka"` // its brokers, or the folder of the embedded one's log
	Feeds []validatedFeed `json:"feeds"`
}

type validatedFeed struct {
	Table       string   `json:"table"`
	Topic       string   `json:"topic"`
	Source      []string `json:"source"`
	PartitionBy []string `json:"partition_by,omitempty"`
	Warnings    []string `json:"warnings,omitempty"`
}

func (c *validateCommand) Run(g *Globals) error {
	f, err := c.need()
	if err != nil {
		return err
	}
	v := validated{File: f.doc.Name(), Lake: cmp.Or(f.Lake.Lake, defaultLake), Kafka: f.kafkaText()}
	for i := range f.Feeds {
		feed := &f.Feeds[i]
		v.Feeds = append(v.Feeds, validatedFeed{feed.Table, feed.topicName(), feed.Source, feed.PartitionBy, feed.warnings()})
	}
	if c.json() {
		return writeJSON(g.stdout, v)
	}
	fmt.Fprintf(g.stdout, "%s is valid: %s\n  lake   %s\n  kafka  %s\n\n", v.File, plural(int64(len(v.Feeds)), "feed"), v.Lake, v.Kafka)
	tab := tabwriter.NewWriter(g.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "  TABLE\tTOPIC\tSOURCE\tPARTITION BY")
	for _, feed := range v.Feeds {
		fmt.Fprintf(tab, "  %s\t%s\t%s\t%s\n", feed.Table, feed.Topic, cmp.Or(strings.Join(feed.Source, ", "), "(what others send)"), strings.Join(feed.PartitionBy, ", "))
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	for _, feed := range v.Feeds {
		for _, warning := range feed.Warnings {
			fmt.Fprintf(g.stderr, "warning: feed %s: %s\n", feed.Table, warning)
		}
	}
	return nil
}

// warnings are what is valid, and does not do what it seems to say.
func (f *feedSettings) warnings() (out []string) {
	if f.Transform.Masks() && f.Schema.OnCellCount == schema.PolicyRescue {
		out = append(out, "on_cell_count: rescue is as reject for a feed with masks, since of a row with other cells than its header it is not known which are to be hidden")
	}
	for i, step := range f.Transform {
		for _, column := range sortedKeys(step.Map) {
			for _, later := range f.Transform[i+1:] {
				if _, masked := later.Mask[column]; masked {
					out = append(out, "the values by which "+column+" is looked up are stored in clear, in the configuration under _lakefeed, though "+column+" is masked: keep that from readers with state:, or look it up behind the mask")
				}
			}
		}
	}
	return out
}

// kafkaText says which Kafka the file has.
func (f *fileSettings) kafkaText() string {
	if servers := f.Kafka.Kafka["bootstrap.servers"]; servers != "" {
		return servers.Reveal()
	}
	return "inside the process, its log in " + cmp.Or(f.KafkaDir, "_lakefeed/kafka of the lake")
}
