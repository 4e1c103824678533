// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// checkSettings tells which settings cannot be had as they are, once, when they are new. What can be had is in force.
func (p *prep) checkSettings() {
	is, was, cpus := &p.plan.Settings, &p.e.plan.Settings, p.e.cpus
	if is.Workers != was.Workers && is.Workers > len(cpus) {
		p.settingProblem("workers", fmt.Errorf("%d are wanted, and %d CPUs may be used: %w", is.Workers, len(cpus), unix.EINVAL))
	}
	usable := func(n int) bool { return slices.Contains(cpus, n) }
	if slices.ContainsFunc(is.CPUs, func(n int) bool { return !usable(n) }) {
		p.settings.cpus = slices.DeleteFunc(slices.Clone(is.CPUs), func(n int) bool { return !usable(n) })
		if !slices.Equal(is.CPUs, was.CPUs) {
			p.settingProblem("cpus", fmt.Errorf("%v are wanted, and %v may be used: %w", is.CPUs, cpus, unix.EINVAL))
		}
	}
}

func (p *prep) settingProblem(name string, err error) {
	p.problems = append(p.problems, plan.Problem{Setting: name, Err: err})
}

// checkLimit ends the account of sockets. It tells if the limit is new, and below what is open already.
func (p *prep) checkLimit() {
	is, was := p.plan.Settings.MaximumSockets, p.e.plan.Settings.MaximumSockets
	n := p.e.sockets + p.sockets
	all := p.short.needed == 0
	p.short.needed += n
	if all && is != was && is != 0 && n > p.limit {
		p.settingProblem("maximum-sockets", &limitError{"what is open", &shortage{limit: is, needed: n}})
	}
}

// room is how many sockets may still be opened.
func (p *prep) room() int { return p.limit - p.e.sockets - p.sockets }

func (p *prep) full() bool { return p.room() <= 0 }

// refuse notes that a socket was not opened for the limit.
func (p *prep) refuse(what string) error {
	p.short.needed++
	return &limitError{what, p.short}
}

// shortage is a limit of sockets, and how many are needed: complete when Prepare has ended.
type shortage struct{ limit, needed int }

// limitError is something that a limit of sockets kept from working.
type limitError struct {
	what string
	*shortage
}

func (e *limitError) Error() string {
	return fmt.Sprintf("%s: the limit is %d sockets, and %d are needed", e.what, e.limit, e.needed)
}

func (e *limitError) Unwrap() error { return unix.EMFILE }
