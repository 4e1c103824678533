// SPDX-License-Identifier: Apache-2.0

//go:build !race

package metrics

// racing says that the race detector is at work, which makes everything ten times slower.
const racing = false
