// SPDX-License-Identifier: Apache-2.0

// Command mcrctl operates mcrd: it adds and removes rules and outputs, shows their state, applies configuration files
// and watches what changes. It is a gNMI client and nothing else; whatever it does, another gNMI client can do too.
//
//	arguments ─► command ─► client ─► gNMI ─► mcrd
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
