// SPDX-License-Identifier: Apache-2.0

// Package gen holds the Go structs of the YANG modules in ../yang, made by ygot.
//
// Only packages below northbound import it: the router and the dataplane work with plain Go types. Regenerating gives no
// difference; CI checks it. See gen/yanggen for the options and why the stock generator is not used.
package gen

//go:generate go run ./yanggen -yang ../yang -out oc.go
//go:generate go run ./yangdoc -yang ../yang -out ../docs
