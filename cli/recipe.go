package cli

import (
	"encoding/json"

	"lakefeed/consumer"
	"lakefeed/consumer/transform"
	"lakefeed/schema"
	"lakefeed/schema/csv"
)

// recipe is the text of what decides how a row becomes a record, which every
// commit refers to. A repair makes files again by it.
func (s *Settings) recipe(topic string, steps transform.Spec) ([]byte, error) {
	contract, err := s.Schema.contract()
	if err != nil {
		return nil, err
	}
	messages, err := s.Messages.messages()
	if err != nil {
		return nil, err
	}
	var form *csv.Overrides
	if fixed := s.CSV.overrides(); !fixed.IsZero() {
		form = &fixed
	}
	return json.Marshal(struct {
		V           int                `json:"v"`
		Topic       string             `json:"topic"`
		PartitionBy []string           `json:"partition_by,omitempty"`
		Meta        bool               `json:"meta,omitempty"`
		Schema      *schema.Contract   `json:"schema,omitempty"`
		Messages    *consumer.Messages `json:"messages,omitempty"`
		Transform   transform.Spec     `json:"transform,omitempty"`
		CSV         *csv.Overrides     `json:"csv,omitempty"`
	}{1, topic, s.shape().PartitionBy, s.Meta, contract, messages, steps, form})
}
