// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"errors"
	"fmt"
	"strings"
)

// UnimplementedError says that the schema has what a path names, and that nothing there is served.
type UnimplementedError struct {
	Path string // as it was asked for
}

func (e *UnimplementedError) Error() string {
	return e.Path + ": is in the schema, and not implemented in this version"
}

// MarkUnimplemented names nodes that are not served, with all below them, by their schema paths without keys, such as
// "/mcr/amt-relay". A container or list is not served either if nothing below it is, but for the keys of entries. Patterns
// that can end at such nodes alone are then refused by Resolve with an *UnimplementedError. It is called before the schema
// is used, and may be called several times. The error names paths that the schema does not have.
func (s *Schema) MarkUnimplemented(paths ...string) error {
	var errs []error
	for _, p := range paths {
		n := s.Root
		for name := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
			if n = n.Children[name]; n == nil {
				errs = append(errs, fmt.Errorf("%s: no element %q in the schema", p, name))
				break
			}
		}
		if n != nil {
			n.unimplemented = true
		}
	}
	s.Root.settle(false)
	s.Root.settle(false) // the keys of lists of which nothing is served
	return errors.Join(errs...)
}

// settle spreads the mark: down to all below, and up to a node below which there is nothing else.
func (n *Node) settle(above bool) {
	n.unimplemented = n.unimplemented || above
	served := n.leaf || n.Parent == nil
	for _, c := range n.Children {
		c.settle(n.unimplemented)
		served = served || !c.unimplemented && !c.IsKey
	}
	n.unimplemented = n.unimplemented || !served
}

// Unimplemented says that nothing at or below the node is served.
func (n *Node) Unimplemented() bool { return n.unimplemented }

// unserved says that a pattern can end at nodes alone that are not served.
func (p *Pattern) unserved() bool {
	for _, n := range p.nodes {
		if !n.unimplemented {
			return false
		}
	}
	return true
}
