// SPDX-License-Identifier: Apache-2.0

package gnmi_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc/codes"

	"mcr/northbound/gnmi"
)

func TestListen(t *testing.T) {
	dir, err := os.MkdirTemp("", "gnmi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "run", "s")

	t.Run("G120_socket_has_mode_0660_and_goes_on_close", func(t *testing.T) {
		l, err := gnmi.Listen("unix://"+path, false)
		if err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o660 {
			t.Errorf("%v %v", fi, err)
		}
		if l.Addr().String() != path {
			t.Errorf("address %v", l.Addr())
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 0 {
			t.Errorf("left over: %v", entries)
		}
	})
	t.Run("stale_socket_is_replaced_and_a_live_one_refused", func(t *testing.T) {
		dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		dead.SetUnlinkOnClose(false)
		_ = dead.Close()
		l, err := gnmi.Listen("unix://"+path, false)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if _, err := gnmi.Listen("unix://"+path, false); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("second listener: %v", err)
		}
	})
	t.Run("a_file_is_not_touched", func(t *testing.T) {
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := gnmi.Listen("unix://"+file, false); err == nil {
			t.Error("took it")
		}
	})
	t.Run("G120_TCP", func(t *testing.T) {
		bad := []struct {
			address, names string
			insecure       bool
		}{
			{"127.0.0.1:0", "--insecure", false},
			{"192.0.2.1:0", "loopback", true},
			{":0", "loopback", true},
			{"example.com:0", "loopback", true},
			{"127.0.0.1", "HOST:PORT", true},
			{"unix://relative", "absolute", false},
		}
		for _, b := range bad {
			if l, err := gnmi.Listen(b.address, b.insecure); err == nil || !strings.Contains(err.Error(), b.names) {
				t.Errorf("%s: %v %v", b.address, l, err)
			}
		}
		l, err := gnmi.Listen("localhost:0", true)
		if err != nil {
			t.Fatal(err)
		}
		tg := &target{server: gnmi.New(gnmi.Config{Tree: newTree(t)})}
		tg.run(t, l)
		_, err = gpb.NewGNMIClient(dial(t, l.Addr().String())).Capabilities(t.Context(), &gpb.CapabilityRequest{})
		wantStatus(t, err, codes.OK)
	})
}
