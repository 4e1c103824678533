// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// args are a daemon of its own: no other can be in its way.
func args(t *testing.T, more ...string) []string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mcrd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return append([]string{"--state-dir", filepath.Join(dir, "state"), "--listen", "unix://" + filepath.Join(dir, "s")}, more...)
}

func TestExitCodes(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		args []string
		code int
		says string
	}{
		{"replace_config_without_a_file", t.Context(), args(t, "--replace-config"), exitUsage, "--replace-config needs --config"},
		{"unknown_flag", t.Context(), args(t, "--none"), exitUsage, "--none"},
		{"bad_log_level", t.Context(), args(t, "--log-level", "loud"), exitUsage, "loud"},
		{"missing_file", t.Context(), args(t, "--config", "/none"), exitFailed, "/none"},
		{"tcp_without_tls", t.Context(), args(t, "--listen", "127.0.0.1:0"), exitFailed, "--insecure"},
		{"certificate_without_key", t.Context(), args(t, "--tls-cert", "/none"), exitUsage, "--tls-key"},
		{"insecure_with_TLS", t.Context(), args(t, "--insecure", "--tls-cert", "/c", "--tls-key", "/k"), exitUsage, "exclude each other"},
		{"certificate_that_is_not_there", t.Context(), args(t, "--tls-cert", "/none", "--tls-key", "/none"), exitFailed, "/none"},
		{"metrics_for_all_without_tls", t.Context(), args(t, "--metrics-listen", "0.0.0.0:0"), exitFailed, "without TLS only a loopback address"},
		{"told_to_end_while_starting", ended, args(t), exitDone, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, words bytes.Buffer
			if code := run(tt.ctx, tt.args, &out, &words); code != tt.code || !strings.Contains(words.String(), tt.says) {
				t.Errorf("exit code %d, want %d; it said %q, want in it %q", code, tt.code, words.String(), tt.says)
			}
		})
	}
}
