// SPDX-License-Identifier: Apache-2.0

//go:build race

package gnmi_test

// raceSlack is how much slower things may be under the race detector on a busy machine.
const raceSlack = 10
