// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"time"

	"github.com/openconfig/gnmi/proto/gnmi_ext"
)

// extensions is what the extensions of a request ask for.
type extensions struct {
	depth       int
	commit      *commit
	arbitration *election
	configOnly  bool // config_subscription
}

// readExtensions takes what this RPC knows. A known extension that is not built, that has no meaning in the RPC or that comes
// twice is refused by name; one that MCR does not know is ignored (G111).
func readExtensions(rpc string, exts []*gnmi_ext.Extension) (extensions, error) {
	var out extensions
	seen := map[string]bool{}
	for _, e := range exts {
		name, rpcs := extension(e)
		switch {
		case name == "":
			continue
		case seen[name]:
			return out, refuse(errInvalid, "extension %s twice", name)
		case name == "history":
			return out, refuse(errUnimplemented, "extension history is not implemented")
		case rpc != rpcs[0] && rpc != rpcs[1]:
			return out, refuse(errInvalid, "extension %s has no meaning in %s", name, rpc)
		}
		seen[name] = true
		if err := out.read(e); err != nil {
			return out, err
		}
	}
	return out, nil
}

// extension returns the name of a known extension and the RPCs that it belongs to.
func extension(e *gnmi_ext.Extension) (name string, rpcs [2]string) {
	switch e.GetExt().(type) {
	case *gnmi_ext.Extension_Depth:
		return "depth", [2]string{"Get", "Subscribe"}
	case *gnmi_ext.Extension_Commit:
		return "commit", [2]string{"Set"}
	case *gnmi_ext.Extension_MasterArbitration:
		return "master_arbitration", [2]string{"Set"}
	case *gnmi_ext.Extension_ConfigSubscription:
		return "config_subscription", [2]string{"Subscribe"}
	case *gnmi_ext.Extension_History:
		return "history", rpcs
	}
	return "", rpcs
}

func (x *extensions) read(e *gnmi_ext.Extension) (err error) {
	switch e := e.GetExt().(type) {
	case *gnmi_ext.Extension_Depth:
		x.depth = int(e.Depth.GetLevel())
	case *gnmi_ext.Extension_Commit:
		x.commit, err = readCommit(e.Commit)
	case *gnmi_ext.Extension_MasterArbitration:
		x.arbitration, err = readElection(e.MasterArbitration)
	case *gnmi_ext.Extension_ConfigSubscription:
		if e.ConfigSubscription.GetStart() == nil {
			err = refuse(errInvalid, "extension config_subscription: a client sends start")
		}
		x.configOnly = true
	}
	return err
}

// action is what the commit extension asks for.
type action string

// Actions, by their names in the specification of commit-confirmed 0.1.0.
const (
	actionCommit      action = "commit"
	actionConfirm     action = "confirm"
	actionCancel      action = "cancel"
	actionSetRollback action = "set_rollback_duration"
)

// commit is the commit extension, checked (G100 to G105).
type commit struct {
	id       string
	action   action
	rollback time.Duration // 0: not said
}

const (
	maxID       = 256                  // bytes of the names that a client gives to commits and roles, which are kept
	maxRollback = 365 * 24 * time.Hour // so that a deadline is a moment that can be told
)

func readCommit(c *gnmi_ext.Commit) (*commit, error) {
	out := &commit{id: c.GetId()}
	switch a := c.GetAction().(type) {
	case *gnmi_ext.Commit_Commit:
		out.action, out.rollback = actionCommit, a.Commit.GetRollbackDuration().AsDuration()
	case *gnmi_ext.Commit_Confirm:
		out.action = actionConfirm
	case *gnmi_ext.Commit_Cancel:
		out.action = actionCancel
	case *gnmi_ext.Commit_SetRollbackDuration:
		out.action, out.rollback = actionSetRollback, a.SetRollbackDuration.GetRollbackDuration().AsDuration()
		if out.rollback <= 0 {
			return nil, refuse(errInvalid, "extension commit: set_rollback_duration needs a rollback_duration above 0")
		}
	default:
		return nil, refuse(errInvalid, "extension commit: no action: use commit, confirm, cancel or set_rollback_duration")
	}
	switch {
	case out.id == "":
		return nil, refuse(errInvalid, "extension commit: no id")
	case len(out.id) > maxID:
		return nil, refuse(errInvalid, "extension commit: the id is longer than %d bytes", maxID)
	case out.rollback < 0 || out.rollback > maxRollback:
		return nil, refuse(errInvalid, "extension commit: rollback_duration %v is not between 0 and %v", out.rollback, maxRollback)
	}
	return out, nil
}
