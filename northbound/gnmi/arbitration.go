// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"cmp"
	"context"
	"fmt"

	"github.com/openconfig/gnmi/proto/gnmi_ext"
)

// election is the master_arbitration extension, checked.
type election struct {
	role string // empty: the default role
	id   electionID
}

// electionID is an unsigned number of 128 bits.
type electionID struct{ high, low uint64 }

func (a electionID) compare(b electionID) int {
	return cmp.Or(cmp.Compare(a.high, b.high), cmp.Compare(a.low, b.low))
}

func (a electionID) String() string { return fmt.Sprintf("{high: %d, low: %d}", a.high, a.low) }

func readElection(m *gnmi_ext.MasterArbitration) (*election, error) {
	if m.GetElectionId() == nil {
		return nil, refuse(errInvalid, "extension master_arbitration: no election_id")
	}
	if len(m.GetRole().GetId()) > maxID {
		return nil, refuse(errInvalid, "extension master_arbitration: the role is longer than %d bytes", maxID)
	}
	return &election{m.GetRole().GetId(), electionID{m.GetElectionId().GetHigh(), m.GetElectionId().GetLow()}}, nil
}

// maxRoles bounds the roles that are remembered.
const maxRoles = 1000

// arbiter lets the Sets of the latest master of each role pass (gNMI master arbitration 0.1.0). What it knows ends with the
// process, as the specification has it: each master says who it is with every Set.
type arbiter struct {
	// turn holds a token while no Set with an election is under way: one that was let pass ends before a newer master is
	// answered, so that nothing of an old master comes after it.
	turn    chan struct{}
	highest map[string]electionID // by role; for whoever has the turn
}

func newArbiter() *arbiter {
	a := &arbiter{turn: make(chan struct{}, 1), highest: map[string]electionID{}}
	a.turn <- struct{}{}
	return a
}

// enter waits for the turn and registers the election. done gives the turn back.
func (a *arbiter) enter(ctx context.Context, e *election) (done func(), err error) {
	done, err = a.check(ctx, e)
	if err == nil {
		a.highest[e.role] = e.id
	}
	return done, err
}

// check is enter without the registration.
func (a *arbiter) check(ctx context.Context, e *election) (done func(), err error) {
	select {
	case <-a.turn:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another master's Set: %w", ctx.Err())
	}
	done = func() { a.turn <- struct{}{} }
	highest, known := a.highest[e.role]
	switch {
	case known && e.id.compare(highest) < 0:
		err = refuse(errPermission, "election_id %v is below the highest of role %q, %v", e.id, e.role, highest)
	case !known && len(a.highest) >= maxRoles:
		err = refuse(errLimit, "more than %d roles in master_arbitration", maxRoles)
	}
	if err != nil {
		done()
		return nil, err
	}
	return done, nil
}
