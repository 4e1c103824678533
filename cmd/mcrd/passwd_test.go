// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// passwdRun gives a text on standard input; the process's own is no terminal in a test.
func passwdRun(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString(stdin); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	old := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = old; _ = r.Close() }()
	var out, words bytes.Buffer
	code = run(t.Context(), append([]string{"passwd"}, args...), &out, &words)
	return code, out.String(), words.String()
}

func TestPasswd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	state := []string{"--state-dir", dir}
	for _, tt := range []struct {
		name, stdin string
		args        []string
		code        int
		says        string
	}{
		{"new_admin", "secret word\n", []string{"--role", "admin", "ann"}, exitDone, ""},
		{"new_user_is_a_viewer", "x", []string{"bob"}, exitDone, ""},
		{"without_password", "", []string{"--role", "viewer", "--no-password", "collector.example.net"}, exitDone, ""},
		{"unknown_role", "x", []string{"--role", "king", "eve"}, exitFailed, "there are admin, viewer"},
		{"empty_password", "\n", []string{"eve"}, exitFailed, "empty password"},
		{"long_password", strings.Repeat("x", 73), []string{"eve"}, exitFailed, "at most 72"},
		{"bad_name", "x", []string{"a\tb"}, exitFailed, "printable"},
		{"role_alone", "", []string{"--role", "admin", "bob"}, exitDone, ""},
		{"delete_nobody", "", []string{"--delete", "eve"}, exitFailed, `no user "eve"`},
		{"delete_and_role", "", []string{"--delete", "--role", "admin", "ann"}, exitFailed, "delete"},
		{"delete_whom", "", []string{"--delete"}, exitUsage, "which user"},
		{"list_of_one", "", []string{"--list", "ann"}, exitUsage, "--list"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, words := passwdRun(t, tt.stdin, append(state, tt.args...)...)
			if code != tt.code || !strings.Contains(words, tt.says) || strings.Contains(out+words, "secret") {
				t.Errorf("exit code %d, want %d; it said %q, want in it %q", code, tt.code, words, tt.says)
			}
		})
	}
	list := func() string {
		_, out, _ := passwdRun(t, "", state...)
		return strings.Join(strings.Fields(out), " ")
	}
	if got, want := list(), "USER ROLE PASSWORD ann admin yes bob admin yes collector.example.net viewer no"; got != want {
		t.Errorf("list %q, want %q", got, want)
	}
	if code, _, words := passwdRun(t, "", append(state, "--delete", "bob")...); code != exitDone {
		t.Errorf("delete: %d %s", code, words)
	}
	if got, want := list(), "USER ROLE PASSWORD ann admin yes collector.example.net viewer no"; got != want {
		t.Errorf("list %q, want %q", got, want)
	}
	text, err := os.ReadFile(filepath.Join(dir, "users"))
	if err != nil || strings.Contains(string(text), "secret") || strings.Contains(string(text), "bob") {
		t.Errorf("%s %v", text, err)
	}
}
