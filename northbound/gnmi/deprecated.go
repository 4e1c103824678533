// SPDX-License-Identifier: Apache-2.0

//lint:file-ignore SA1019 deprecated fields are looked at to refuse them by name, so that they are not ignored

package gnmi

import gpb "github.com/openconfig/gnmi/proto/gnmi"

// oldElements returns the path in the form that gNMI 0.4 gave up (G26).
func oldElements(p *gpb.Path) []string { return p.GetElement() } //nolint:staticcheck // see above

// hasOldValue says that the value is in the field that gNMI 0.4 gave up (G49).
func hasOldValue(u *gpb.Update) bool { return u.GetValue() != nil } //nolint:staticcheck // see above
