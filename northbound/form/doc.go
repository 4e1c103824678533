// SPDX-License-Identifier: Apache-2.0

// Package form reads and writes the short text form of an output, and makes the names that users leave out.
//
//	239.1.1.1:5000:eth1                 GROUP:PORT:INTERFACE, a multicast copy
//	239.1.1.1:5000:gre0@10.2.0.5        the same, sent to a host instead of the group
//	239.1.1.1:0:eth1,239.1.1.1:0:eth2   a list; port 0 keeps the port that arrived
//
// What a name may be and what goes where is checked by the server as well: this package refuses what cannot be an output
// anywhere, and says at which byte.
//
// It is a leaf: the command line client uses it, so it must not import the generated schema. An interface whose name has
// '@' or ',' in it can be configured, but not written in this form.
package form
