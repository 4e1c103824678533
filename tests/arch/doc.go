// SPDX-License-Identifier: Apache-2.0

// Package arch holds no code, only tests of how the code is laid out:
//
//	imports   which package may reach which, over any number of hops, from go list
//	sources   licence lines, package documentation, where unsafe code may be, words that must not appear
//
// Each rule says why it is there. Each check is shown to fail: on a package planted with go list -overlay, or on a
// planted source.
package arch
