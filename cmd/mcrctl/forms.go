// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"

	"mcr/northbound/form"
)

// parseOutputs reads a list of outputs; the error points at the fault (P1.5).
func parseOutputs(arg string) ([]form.Output, error) {
	outs, err := form.ParseOutputs(arg)
	return outs, pointAt(err)
}

func parseOutput(arg string) (form.Output, error) {
	o, err := form.ParseOutput(arg)
	return o, pointAt(err)
}

func pointAt(err error) error {
	if f := (*form.Error)(nil); errors.As(err, &f) {
		return &usageError{arg: f.Text, pos: f.Offset, err: errors.New(f.Reason)}
	}
	return err
}

// parseAddr reads the IPv4 address of a flag.
func parseAddr(flag, s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return a, &usageError{arg: s, pos: -1, err: fmt.Errorf("--%s is not an IPv4 address", flag)}
	}
	return a, nil
}

// newOutput is an output as a Set sends it, with the name that its user left out.
func newOutput(o form.Output) outputBody {
	dest := o.Group
	c := outputConfig{Interface: o.Interface, Group: o.Group.String(), Port: o.Port}
	if o.Dest.IsValid() {
		dest, c.UnicastDest = o.Dest, o.Dest.String()
	}
	c.Name = form.OutputName(o.Interface, dest, o.Port)
	return outputBody{Name: c.Name, Config: c}
}

// outputForm is a configured output in the short form; a group that was left out is the input's.
func outputForm(r *rule, o *output) form.Output {
	l := o.leaves()
	f := form.Output{Port: l.Port, Interface: l.Interface}
	f.Group, _ = netip.ParseAddr(cmp.Or(l.Group, r.leaves().InputGroup))
	f.Dest, _ = netip.ParseAddr(l.UnicastDest)
	return f
}

// inputForm writes an input as outputs are written.
func inputForm(r *ruleLeaves) string {
	s := fmt.Sprintf("%s:%d:%s", r.InputGroup, r.InputPort, r.InputInterface)
	if r.InputSource != "" {
		s += " from " + r.InputSource
	}
	return s
}

// sameBranch says whether two outputs of a rule are one branch: equal in interface, destination and effective port.
func sameBranch(a, b form.Output, inputPort uint16) bool {
	where := func(o form.Output) form.Output {
		if o.Dest.IsValid() {
			o.Group = o.Dest
		}
		return form.Output{Group: o.Group, Interface: o.Interface, Port: cmp.Or(o.Port, inputPort)}
	}
	return where(a) == where(b)
}
