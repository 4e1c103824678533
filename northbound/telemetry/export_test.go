// SPDX-License-Identifier: Apache-2.0

package telemetry

// Watches counts what is left in the trie of subscriptions.
func Watches(t *Tree) int {
	n := &t.watched.root
	out := len(n.here) + len(n.names)
	if n.deep != nil {
		out++
	}
	return out
}

// Drain takes what waits at streams and makes the messages.
func Drain(streams []*Stream) {
	for _, s := range streams {
		for more := true; more; {
			more, _ = s.pass(s.queue, func(*Message) error { return nil })
		}
	}
}
