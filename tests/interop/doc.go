// SPDX-License-Identifier: Apache-2.0

// Package interop holds no code, only tests of the built mcrd as gNMI clients meet it:
//
//	conformance   one case for each rule of the gNMI contract, named by its id (G01 to G128), over a plain gRPC connection;
//	              rules that need mcrd's clock, memory or disk are in tests of its packages, and inside_test.go says where
//	clients       gnmi_cli, pygnmi, aiognmi, and gnmic where it is in PATH: the same questions give the same answers
//	recipes       the command lines of docs/gnmi.md, run as written
//
// Each test has an mcrd of its own in a network namespace. A case begins with the same configuration, start.json in testdata.
// Root is needed.
package interop
