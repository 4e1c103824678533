// SPDX-License-Identifier: Apache-2.0

// Package certs makes authorities and certificates for tests, as PEM files in folders of the test.
//
//	ca := certs.New(t)
//	server := ca.Issue(t, certs.Name{IP: "127.0.0.1"})
//	client := ca.Issue(t, certs.Name{Common: "ann"})
package certs
