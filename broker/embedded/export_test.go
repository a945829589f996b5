package embedded

// CleanUp does at once what the broker does every now and then: the removal of
// messages by age and size.
func (b *Broker) CleanUp() { b.cluster.ApplyRetention() }
