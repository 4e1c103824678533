// SPDX-License-Identifier: Apache-2.0

// Command mcrctl operates mcrd: it adds and removes rules and outputs, shows their state, applies configuration files,
// watches what changes, and goes back to what was. It is a gNMI client; for the little that gNMI has no words for (dry
// runs, the content of old commits) it uses the service mcr.v1.Operations. Another client can do all of it too.
//
//	arguments ─► command ─► client ─► gNMI, Operations ─► mcrd
//	                │          │
//	stdout ◄─ render ◄─ model ◄┘        words and errors ─► stderr
//
// A command file holds one command. The client turns a Get into JSON values; the model gives the parts that tables
// need Go types; renderers are pure functions from the model to text.
//
// Exit codes: 0 done, 1 refused, 2 wrong usage, 3 daemon not reached.
//
// It does not import the generated YANG structs: loading them takes longer than everything else that mcrctl does.
package main
