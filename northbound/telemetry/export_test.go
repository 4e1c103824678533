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
