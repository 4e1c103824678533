// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// inside says where rules are tested that need mcrd's own clock, memory, disk or certificates, or more load than is fair
// here: package folder, then tests of it. Some have a case here as well.
var inside = map[string]string{
	"G27":  "northbound/gnmi TestGetDoesNotWaitForASet",
	"G33":  "tests/e2e TestP1_7_FaultsAreRefusedAndChangeNothing TestP1_7_GoodPartOfABadSetIsNotDone",
	"G54":  "northbound/config TestConcurrentSets TestKill",
	"G74":  "northbound/telemetry TestOnChange TestSample",
	"G85":  "northbound/telemetry TestOnChange",
	"G87":  "northbound/telemetry TestApplyIsOneNotification",
	"G88":  "northbound/gnmi TestStuckClientHarmsNobody",
	"G91":  "northbound/telemetry TestApplyIsOneNotification",
	"G93":  "northbound/gnmi TestSubscribeRefuses",
	"G106": "northbound/config TestG106_RestartWhileOneWaits TestG106_RestartAfterConfirm",
	"G120": "northbound/gnmi TestListen TestG120ListenerForTLSNeedsCertificates",
	"G121": "northbound/gnmi TestG121G122TLSAndLogins",
	"G122": "northbound/access TestG122FailuresAreLimitedByAddress TestG122UnknownUserTakesAsLong TestG122PasswordIsHashedOnce",
	"G123": "northbound/gnmi TestG123GetAndSubscribeLeaveOutWhatMayNotBeRead TestG123SetIsRefusedBeforeAnythingElse",
	"G124": "northbound/access TestG120G124CertificatesAreReadAgain TestG124UsersAreReadAgain",
	"G125": "northbound/gnmi TestG125IdleStreamStaysUp TestG125DeadPeerIsFound",
	"G126": "northbound/gnmi TestSet TestG123G126OperationsAreGuardedAndAudited",
	"G127": "northbound/gnmi TestCallsAreInTheTree TestCallsDoNotFloodOnChange",
	"G128": "northbound/gnmi FuzzGetRequest FuzzSetRequest FuzzSubscribeRequest",
}

// ranges are the rules by subject: Capabilities, Get, Set, Subscribe, extensions, security and operation.
var ranges = [][2]int{{1, 5}, {10, 27}, {30, 58}, {60, 93}, {100, 111}, {120, 128}}

// Each rule has a case here, or a test inside that exists.
func TestEveryRuleHasACase(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]bool{}
	name := regexp.MustCompile(`\b(?:rule\(t, |beside\()"(G\d+)"`)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range name.FindAllStringSubmatch(string(text), -1) {
			cases[id[1]] = true
		}
	}
	for _, r := range ranges {
		for n := r[0]; n <= r[1]; n++ {
			id := fmt.Sprintf("G%02d", n)
			if where := inside[id]; where != "" {
				exist(t, id, where)
			} else if !cases[id] {
				t.Errorf("%s has no case", id)
			}
		}
	}
}

// exist demands that the tests are there.
func exist(t *testing.T, id, where string) {
	t.Helper()
	f := strings.Fields(where)
	files, err := filepath.Glob(filepath.Join("../..", f[0], "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Errorf("%s: no tests in %s", id, f[0])
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for _, name := range f[1:] {
		if !strings.Contains(all.String(), "func "+name+"(") {
			t.Errorf("%s: %s has no %s", id, f[0], name)
		}
	}
}
