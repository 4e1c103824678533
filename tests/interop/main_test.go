// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"os"
	"testing"

	"mcr/tests/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.CheckLeaks(m.Run)) }
