// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mcr/gen"
	mcrv1 "mcr/northbound/operations/mcr/v1"
	"mcr/northbound/telemetry"
)

const (
	pendingPath = "/mcr/system/configuration/state/pending-commit-id"
	oldConfig   = `{"mcr:mcr":{"forwarding":{"rules":{"rule":[{"name":"a","config":{"name":"a","input-port":5000}}]}}}}`
	newConfig   = `{"mcr:mcr":{"forwarding":{"rules":{"rule":[{"name":"a","config":{"name":"a","input-port":5001}},` +
		`{"name":"b]","config":{"name":"b]"}}]}}}}`
)

// withHistory has the commits 7 and 8, of which the latter runs.
func withHistory(t *testing.T) *fake {
	t.Helper()
	f := startFake(t)
	running := &mcrv1.GetCommitResponse{Revision: 8, JsonIetf: []byte(newConfig)}
	f.commits = map[uint64]*mcrv1.GetCommitResponse{0: running, 8: running, 7: {Revision: 7, JsonIetf: []byte(oldConfig)}}
	f.answers["/mcr/system/configuration/commits/commit"] = []pathValue{
		{"/mcr/system/configuration/commits/commit[id=10]", json.RawMessage(
			`{"mcr-system:id":"10","state":{"id":"10","user":"ann","address":"unix","time":"1795608000000000000","change-count":1234}}`)},
		{"/mcr/system/configuration/commits/commit[id=9]", json.RawMessage(`{"mcr-system:id":"9","state":{"id":"9","address":"file"}}`)},
	}
	f.answer("/mcr/system/configuration/state",
		`{"mcr-system:revision":"10","pending-commit-id":"c1","pending-commit-deadline":"1795608060000000000"}`)
	return f
}

func TestShowCommits(t *testing.T) {
	t.Setenv("TZ", "UTC")
	f := withHistory(t)
	got := f.run(t, "show", "commits")
	lines := strings.Split(got.stdout, "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "REVISION") ||
		strings.Join(strings.Fields(lines[1]), " ") != "10 * 2026-11-25 12:00:00 ann unix 1,234" ||
		strings.Join(strings.Fields(lines[2]), " ") != "9 - - file -" {
		t.Errorf("%s", got.stdout)
	}
	if !strings.Contains(got.stderr, "commit c1 waits for mcrctl confirm, and is taken back in 1m0s\n") {
		t.Errorf("not a word of the pending commit: %q", got.stderr)
	}
	var all []struct{ ID string }
	if err := json.Unmarshal([]byte(f.done(t, "show", "commits", "-o", "json")), &all); err != nil || len(all) != 2 || all[0].ID != "10" {
		t.Errorf("%v, %v", all, err)
	}
}

func TestDiff(t *testing.T) {
	f := withHistory(t)
	const want = `- /mcr/forwarding/rules/rule[name=a]/config/input-port 5000
+ /mcr/forwarding/rules/rule[name=a]/config/input-port 5001
+ /mcr/forwarding/rules/rule[name=b\]]/config/name b]
`
	for _, line := range []string{"diff 7", "diff 7 8"} {
		if diff := cmp.Diff(want, f.done(t, words(line)...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
	if got := f.done(t, "diff", "8", "7"); !strings.HasPrefix(got, "- /mcr/forwarding/rules/rule[name=a]/config/input-port 5001\n+ ") {
		t.Errorf("the other way: %s", got)
	}
	same := f.run(t, "diff", "8")
	if same.code != exitDone || same.stdout != "" || !strings.Contains(same.stderr, "same configuration") {
		t.Errorf("of itself: %+v", same)
	}
	var got struct {
		From, To uint64
		Changes  []leafChange
	}
	if err := json.Unmarshal([]byte(f.done(t, "diff", "7", "-o", "json")), &got); err != nil || got.From != 7 || got.To != 8 || len(got.Changes) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	for line, want := range map[string]result{
		"diff 6":          {exitRefused, "", "commit 6 is not kept; mcrctl show commits"},
		"diff x":          {exitUsage, "", "a commit is named by its revision"},
		"diff 0":          {exitUsage, "", "a commit is named by its revision"},
		"rollback 6":      {exitRefused, "", "commit 6 is not kept"},
		"rollback latest": {exitUsage, "", "a commit is named by its revision"},
	} {
		if got := f.run(t, words(line)...); got.code != want.code || !strings.Contains(got.stderr, want.stderr) {
			t.Errorf("%s: %+v", line, got)
		}
	}
}

// What each command sends about commits.
func TestCommitSets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "start.json5")
	if err := os.WriteFile(file, []byte("{ rules: [] }"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ line, want, stderr string }{
		{"rollback 7", "replace / " + oldConfig + "\n", "the configuration of commit 7 is in force\n"},
		{
			"apply " + file + " --confirm 60s --id c9", "replace mcr_cli:/ { rules: [] }\ncommit:{id:\"c9\" commit:{rollback_duration:{seconds:60}}}\n",
			file + " is in force for 1m0s; mcrctl confirm keeps it (commit c9)\n",
		},
		{
			"rollback 7 --confirm 1m --id c9", "replace / " + oldConfig + "\ncommit:{id:\"c9\" commit:{rollback_duration:{seconds:60}}}\n",
			"the configuration of commit 7 is in force for 1m0s; mcrctl confirm keeps it (commit c9)\n",
		},
		{"confirm", "commit:{id:\"c1\" confirm:{}}\n", "commit c1 is confirmed\n"},
		{"confirm c2", "commit:{id:\"c2\" confirm:{}}\n", "commit c2 is confirmed\n"},
		{"cancel", "commit:{id:\"c1\" cancel:{}}\n", "commit c1 is taken back\n"},
		{"cancel c2", "commit:{id:\"c2\" cancel:{}}\n", "commit c2 is taken back\n"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			f := withHistory(t)
			f.answer(pendingPath, `"c1"`)
			got := f.run(t, words(tt.line)...)
			if diff := cmp.Diff(result{exitDone, "", tt.stderr}, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, f.setText()); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

// An id that nobody gave is never twice the same.
func TestConfirmMakesUpAnID(t *testing.T) {
	f := withHistory(t)
	f.done(t, "rollback", "7", "--confirm", "1m")
	id := f.sets[0].GetExtension()[0].GetCommit().GetId()
	if !strings.HasPrefix(id, "mcrctl-") || len(id) < 20 {
		t.Errorf("id %q", id)
	}
}

func TestNothingToConfirm(t *testing.T) {
	f := startFake(t)
	for _, line := range []string{"confirm", "cancel"} {
		if got := f.run(t, line); got.code != exitRefused || !strings.Contains(got.stderr, "no commit waits to be confirmed") || len(f.sets) > 0 {
			t.Errorf("%s: %+v", line, got)
		}
	}
	for _, line := range []string{"rollback 7 --confirm 0s", "rollback 7 --confirm -1s", "rollback 7 --id x", "rollback 7 --dry-run --confirm 1m"} {
		if got := f.run(t, words(line)...); got.code != exitUsage || len(f.sets) > 0 {
			t.Errorf("%s: %+v", line, got)
		}
	}
}

func TestDryRun(t *testing.T) {
	f := withHistory(t)
	file := filepath.Join(t.TempDir(), "start.json5")
	if err := os.WriteFile(file, []byte("{ rules: [] }"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.validate = &mcrv1.ValidateResponse{Revision: 8, Changes: []*mcrv1.Change{
		{Path: "/a/x", Old: "1", New: `"two words"`}, {Path: "/a/y", New: `"line\nline"`}, {Path: "/a/z", Old: `["p"]`},
	}}
	const want = "- /a/x 1\n+ /a/x two words\n+ /a/y \"line\\nline\"\n- /a/z [\"p\"]\n"
	for _, line := range []string{"apply " + file, "rollback 7"} {
		if diff := cmp.Diff(want, f.done(t, append(words(line), "--dry-run")...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
	const wantJSON = `{"revision":8,"changes":[{"path":"/a/x","old":1,"new":"two words"},{"path":"/a/y","new":"line\nline"},{"path":"/a/z","old":["p"]}]}`
	var got, wanted any
	if err := json.Unmarshal([]byte(f.done(t, "apply", file, "--dry-run", "-o", "json")), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(wantJSON), &wanted); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("-o json (-want +got):\n%s", diff)
	}
	f.validate = &mcrv1.ValidateResponse{Revision: 8}
	if got := f.run(t, "apply", file, "--dry-run"); got.code != exitDone || got.stdout != "" || got.stderr != file+" would change nothing\n" {
		t.Errorf("no change: %+v", got)
	}
	if len(f.sets) > 0 {
		t.Error("a dry run set something")
	}
	s, err := status.New(codes.InvalidArgument, "replace[0] line 2, column 3, rules[0]: not a group").WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "replace[0] rules[0]", Description: "not a group"}, {Field: "replace[0] rules[7]", Description: "unknown key"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.setErr = s.Err()
	fault := result{exitRefused, "", "mcrctl: " + file + ": line 2, column 3, rules[0]: not a group\n  rules[7]: unknown key\n"}
	for _, args := range [][]string{{"apply", file, "--dry-run"}, {"apply", file}} {
		if got := f.run(t, args...); got != fault {
			t.Errorf("%v, with a fault: %+v", args, got)
		}
	}
}

func TestSave(t *testing.T) {
	f := startFake(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "all.json")
	const empty = "{\n  \"mcr:mcr\": {}\n}\n"
	if got := f.done(t, "save"); got != empty {
		t.Errorf("nothing configured: %q", got)
	}
	f.answer("/", oldConfig)
	text := f.done(t, "save", "-")
	f.done(t, "save", file)
	got, err := os.ReadFile(file)
	if err != nil || string(got) != text {
		t.Errorf("%v: file and standard output differ (-file +output):\n%s", err, cmp.Diff(string(got), text))
	}
	if leaves, err := configLeaves(got); err != nil || len(leaves) != 2 || !isRFC7951(got) {
		t.Errorf("%v, %v in %s", leaves, err, got)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	f.answer("/", newConfig)
	f.done(t, "save", link)
	if fi, err := os.Lstat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("rights of the file: %v, %v", fi, err)
	}
	if fi, err := os.Lstat(link); err != nil || fi.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link is none any more: %v, %v", fi, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if got := f.run(t, "save", "/nonexistent/x"); got.code != exitRefused || !strings.Contains(got.stderr, "/nonexistent") {
		t.Errorf("%+v", got)
	}
}

func TestShowClients(t *testing.T) {
	f := startFake(t)
	f.answers["/mcr/system/clients/client"] = []pathValue{
		{"/mcr/system/clients/client[id=12]", json.RawMessage(
			`{"mcr-system:id":"12","state":{"id":"12","user":"ann","address":"10.0.0.9:4000","rpc":"subscribe","mode":"stream",` +
				`"encoding":"JSON_IETF","since":"1795607990000000000","paths":["/mcr","/interfaces"],` +
				`"counters":{"sent":"1000","waiting":"2","merged":"3","dropped":"0"}}}`)},
		{"/mcr/system/clients/client[id=2]", json.RawMessage(`{"mcr-system:id":"2","state":{"id":"2","rpc":"get","mode":"none"}}`)},
	}
	golden(t, "show_clients.txt", f.done(t, "show", "clients"))
}

func TestConfigLeaves(t *testing.T) {
	got, err := configLeaves([]byte(`{"mcr:mcr":{"a":{"n": [1, 2],"none":[null],"empty":[],"big":"18446744073709551615"}},
		"x:l":[{"identifier":"mcr-types:PIM","name":"mcr-types:x","config":{"identifier":"mcr-types:PIM"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	text := map[string]string{}
	for path, v := range got {
		text[path] = string(v)
	}
	want := map[string]string{
		"/mcr/a/n": "[1,2]", "/mcr/a/none": "[null]", "/mcr/a/empty": "[]", "/mcr/a/big": `"18446744073709551615"`,
		"/l[identifier=PIM][name=mcr-types:x]/config/identifier": `"mcr-types:PIM"`,
	}
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{``, `[]`, `5`, `{"a":`, `{"a":[{"b":{"c":[{}, 5]}}]}`} {
		if _, err := configLeaves([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// The shape that configLeaves relies on: the leaves of a list entry are its keys.
func TestListsHaveKeysOnly(t *testing.T) {
	s, err := gen.Schema()
	if err != nil {
		t.Fatal(err)
	}
	schema, err := telemetry.NewSchema(s)
	if err != nil {
		t.Fatal(err)
	}
	var walk func(*telemetry.Node)
	walk = func(n *telemetry.Node) {
		leaves := 0
		for _, c := range n.Children {
			if c.IsLeaf() {
				leaves++
			}
			walk(c)
		}
		if n.IsList() && leaves != len(n.Keys) {
			t.Errorf("%s has leaves that are no keys", n.Path())
		}
	}
	walk(schema.Root)
}

func FuzzConfigLeaves(f *testing.F) {
	for _, s := range []string{oldConfig, newConfig, `{"a":[{"b":1},null]}`, `{"":{"":[{}]}}`, `{"a":[{"k":[]}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		leaves, err := configLeaves(b)
		if err != nil {
			return
		}
		for path, v := range leaves {
			if !json.Valid(v) || path == "" {
				t.Errorf("%q: %q", path, v)
			}
		}
		if all, err := compareConfigs(b, b); err != nil || len(all) > 0 {
			t.Errorf("differs from itself: %v, %v", all, err)
		}
	})
}
