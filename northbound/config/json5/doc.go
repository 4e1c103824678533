// SPDX-License-Identifier: Apache-2.0

// Package json5 reads JSON and JSON5 into a tree whose nodes know where in the text they stand.
//
// It knows no schema. It keeps numbers as text, so that nothing is rounded, and refuses what the standards leave open
// and a configuration must not have: the same member twice, text behind the value, invalid UTF-8, and nesting deeper
// than MaxDepth. Parse follows https://spec.json5.org; ParseJSON takes RFC 8259 alone.
package json5
