// SPDX-License-Identifier: Apache-2.0

//go:build race

package metrics

// slack is how much more than usual things may cost.
const slack = 5
