// SPDX-License-Identifier: Apache-2.0

//go:build !race

package gnmi_test

// raceSlack allows for a busy machine.
const raceSlack = 3
