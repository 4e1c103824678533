// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"github.com/openconfig/gnmi/proto/gnmi_ext"
)

// extensions is what the extensions of a request ask for.
type extensions struct{ depth int }

// readExtensions takes what this RPC knows. A known extension that is not built, or that has no meaning in the RPC, is
// refused by name; one that MCR does not know is ignored (G111).
func readExtensions(rpc string, exts []*gnmi_ext.Extension) (extensions, error) {
	var out extensions
	for _, e := range exts {
		switch x := e.GetExt().(type) {
		case *gnmi_ext.Extension_Depth:
			if rpc != "Get" && rpc != "Subscribe" {
				return out, refuse(errInvalid, "extension depth has no meaning in %s", rpc)
			}
			out.depth = int(x.Depth.GetLevel())
		case *gnmi_ext.Extension_Commit:
			if rpc != "Set" {
				return out, refuse(errInvalid, "extension commit has no meaning in %s", rpc)
			}
			return out, refuse(errUnimplemented, "extension commit (commit-confirmed) is not implemented")
		case *gnmi_ext.Extension_MasterArbitration:
			if rpc != "Set" {
				return out, refuse(errInvalid, "extension master_arbitration has no meaning in %s", rpc)
			}
			return out, refuse(errUnimplemented, "extension master_arbitration is not implemented")
		case *gnmi_ext.Extension_History:
			return out, refuse(errUnimplemented, "extension history is not implemented")
		case *gnmi_ext.Extension_ConfigSubscription:
			if rpc != "Subscribe" {
				return out, refuse(errInvalid, "extension config_subscription has no meaning in %s", rpc)
			}
			return out, refuse(errUnimplemented, "extension config_subscription is not implemented")
		}
	}
	return out, nil
}
