// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	gnmipb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// readyWithin is how long mcrd may take to start.
var readyWithin = Patience(15 * time.Second)

// MCRDConfig says how to start mcrd. The zero value starts it without configuration.
type MCRDConfig struct {
	Config string   // JSON5; mcrd reads it at the first start only, unless Args has --replace-config
	Args   []string // further arguments
	Under  []string // a command line to run mcrd under, such as of unshare; it must become mcrd
	Env    []string
}

// MCRD is mcrd on a host, with a state dir and a socket of its own that last over restarts.
type MCRD struct {
	*Proc             // the current one
	StateDir   string // given as --state-dir
	Socket     string // path of the unix socket, reached from every namespace
	ConfigFile string // given as --config, if there is a configuration

	host *Host
	conf MCRDConfig
}

// MCRD starts mcrd on the host and waits until it is ready.
func (h *Host) MCRD(c MCRDConfig) *MCRD {
	h.t.Helper()
	dir, err := os.MkdirTemp("", "mcr-") // short: a socket's path has at most 107 bytes
	if err != nil {
		h.fatal(err, "folder for mcrd")
	}
	h.t.Cleanup(func() { os.RemoveAll(dir) })
	d := &MCRD{StateDir: filepath.Join(dir, "state"), Socket: filepath.Join(dir, "mcrd.sock"), host: h, conf: c}
	if c.Config != "" {
		d.ConfigFile = filepath.Join(dir, "mcrd.json5")
		if err := os.WriteFile(d.ConfigFile, []byte(c.Config), 0o644); err != nil {
			h.fatal(err, "configuration of mcrd")
		}
	}
	d.Start()
	return d
}

// Start starts mcrd again after Stop or Kill.
func (d *MCRD) Start() {
	d.host.t.Helper()
	args := append(slices.Clone(d.conf.Under), Bin(d.host.t, "mcrd"), "--state-dir", d.StateDir, "--listen", "unix://"+d.Socket)
	if d.ConfigFile != "" {
		args = append(args, "--config", d.ConfigFile)
	}
	d.Proc = d.host.StartCmd(Cmd{Args: append(args, d.conf.Args...), Env: d.conf.Env})
	if _, err := d.Stderr.WaitLine(readyWithin, d.Done(), isReady); err != nil {
		d.host.fatal(err, "mcrd is not ready\n%s", tail(d.Stderr.String(), 100))
	}
}

// Restart stops mcrd cleanly and starts it again.
func (d *MCRD) Restart() {
	d.host.t.Helper()
	if err := d.Stop(); err != nil {
		d.host.fatal(err, "stop mcrd")
	}
	d.Start()
}

// isReady knows the ready line in both log formats, and alone.
func isReady(line string) bool {
	if strings.TrimSpace(line) == "ready" {
		return true
	}
	var entry struct{ Msg string }
	if json.Unmarshal([]byte(line), &entry) == nil {
		return entry.Msg == "ready"
	}
	for field := range strings.FieldsSeq(line) {
		if field == "msg=ready" {
			return true
		}
	}
	return false
}

// Dial opens a gRPC connection to mcrd, closed when the test ends. It lasts over a restart.
func (d *MCRD) Dial() *grpc.ClientConn {
	d.host.t.Helper()
	conn, err := grpc.NewClient("unix://"+d.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		d.host.fatal(err, "dial %s", d.Socket)
	}
	d.host.t.Cleanup(func() { conn.Close() })
	return conn
}

// GNMI is a gNMI client on a connection of its own.
func (d *MCRD) GNMI() gnmipb.GNMIClient { d.host.t.Helper(); return gnmipb.NewGNMIClient(d.Dial()) }

// Ctl starts mcrctl against this mcrd, on its host.
func (d *MCRD) Ctl(args ...string) *Proc {
	d.host.t.Helper()
	return d.host.Start(append([]string{Bin(d.host.t, "mcrctl"), "--address", "unix://" + d.Socket}, args...)...)
}
