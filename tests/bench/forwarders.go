// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"mcr/tests/lab"
)

// forwarder is one thing to measure.
type forwarder struct {
	name    string
	command string // for the shell, with {words}
	mcrd    *variant
	needs   string // a program that a machine may lack
}

// variant is how mcrd is configured, apart from its outputs.
type variant struct {
	knobs    map[string]any // leaves of /mcr/dataplane/config
	method   string         // receive-method
	portless bool           // the rule names no input port, and no output port
	dead     bool           // the first destination is a closed port
	egress   map[string]any // leaves of the egress's configuration
}

// variants of mcrd by name; what follows from each is in docs/performance.md.
var variants = map[string]variant{
	"mcrd":               {},
	"mcrd-copy":          {knobs: map[string]any{"zero-copy": "off"}},
	"mcrd-zc":            {knobs: map[string]any{"zero-copy": "on"}},
	"mcrd-mmsg":          {knobs: map[string]any{"engine": "mmsg"}},
	"mcrd-nogso":         {knobs: map[string]any{"gso-max-segments": 1}},
	"mcrd-gso-off":       {egress: map[string]any{"gso": "off"}},
	"mcrd-gso128":        {knobs: map[string]any{"gso-max-segments": 128}},
	"mcrd-coalesce-200":  {knobs: map[string]any{"coalesce-usec": 200}},
	"mcrd-coalesce-1000": {knobs: map[string]any{"coalesce-usec": 1000}},
	"mcrd-busy":          {knobs: map[string]any{"busy-poll-usec": 10000}},
	"mcrd-portless":      {portless: true},
	"mcrd-packet":        {method: "packet"},
	"mcrd-dead":          {dead: true},
}

const mcrdCommand = "exec {mcrd} --state-dir {dir}/state --listen unix://{dir}/mcrd.sock --config {dir}/mcrd.json"

// nftCommand makes the kernel do it: rewrite, duplicate, rewrite, duplicate, … before routing. Its work is done on the source's time.
const nftCommand = `{ echo 'table ip bench {'; echo 'chain d {'
sed 's/\(.*\):\(.*\)/ip daddr set \1 udp dport set \2 dup to \1 device "{oif}"/' {outs}
echo drop; echo '}'; echo 'chain p {'; echo 'type filter hook prerouting priority -300;'
echo 'iifname "{iif}" ip daddr {group} udp dport {port} jump d'; echo '}'; echo '}'; } >{dir}/nft
trap 'nft delete table ip bench; exit' TERM
nft -f {dir}/nft && while :; do sleep 0.1; done`

// bare is a run without forwarder: what the source costs by itself.
var bare = forwarder{name: "none", command: "exec sleep 1000"}

// parseForwarder takes the name of a known one, or NAME=COMMAND.
func parseForwarder(s string) forwarder {
	if name, command, ok := strings.Cut(s, "="); ok {
		return forwarder{name: name, command: command}
	}
	if v, ok := variants[s]; ok {
		return forwarder{name: s, command: mcrdCommand, mcrd: &v}
	}
	if s == "nft-dup" {
		return forwarder{name: s, command: nftCommand, needs: "nft"}
	}
	return forwarder{name: s, command: "exec {self} fwd " + s + " -iface {iif} -group {group}:{port} -outs {outs} -mtu {mtu}"}
}

// dead says that the first destination does not listen.
func (f forwarder) dead() bool { return f.mcrd != nil && f.mcrd.dead }

// missing says what the machine lacks, if anything.
func (f forwarder) missing() error {
	if f.needs == "" {
		return nil
	}
	_, err := exec.LookPath(f.needs)
	return err
}

// config is a configuration as RFC 7951 JSON: one rule, and the knobs.
func (v variant) config(outs []netip.AddrPort) []byte {
	type obj = map[string]any
	rule := obj{"name": "bench", "input-interface": inIface, "input-group": inGroup}
	if !v.portless {
		rule["input-port"] = inPort
	}
	if v.method != "" {
		rule["receive-method"] = v.method
	}
	outputs := make([]obj, len(outs))
	for i, o := range outs {
		name := fmt.Sprintf("o%05d", i+1)
		c := obj{"name": name, "interface": outIface, "unicast-dest": o.Addr()}
		if !v.portless {
			c["port"] = o.Port()
		}
		outputs[i] = obj{"name": name, "config": c}
	}
	mcr := obj{"forwarding": obj{"rules": obj{"rule": []any{
		obj{"name": "bench", "config": rule, "outputs": obj{"output": outputs}},
	}}}}
	dataplane := obj{}
	if len(v.knobs) > 0 {
		dataplane["config"] = v.knobs
	}
	if len(v.egress) > 0 {
		config := obj{"name": outIface}
		maps.Copy(config, v.egress)
		dataplane["egress-interfaces"] = obj{"egress-interface": []any{obj{"name": outIface, "config": config}}}
	}
	if len(dataplane) > 0 {
		mcr["dataplane"] = dataplane
	}
	b, err := json.Marshal(obj{"mcr:mcr": mcr})
	if err != nil {
		panic(err) // of strings and numbers alone
	}
	return b
}

// commandLine writes the outputs to a file of one ADDRESS:PORT per line and fills the words in.
func (f forwarder) commandLine(t lab.TB, dir string, mtu int, outs []netip.AddrPort) (string, error) {
	var list []string
	for _, o := range outs {
		list = append(list, o.String())
	}
	file := filepath.Join(dir, "outs")
	if err := os.WriteFile(file, []byte(strings.Join(list, "\n")+"\n"), 0o644); err != nil {
		return "", err
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	words := map[string]string{
		"N": strconv.Itoa(len(outs)), "outs": file, "list": strings.Join(list, ","), "dir": dir, "mtu": strconv.Itoa(mtu),
		"iif": inIface, "oif": outIface, "group": inGroup, "port": strconv.Itoa(inPort), "self": self,
	}
	if f.mcrd != nil {
		if err := os.WriteFile(filepath.Join(dir, "mcrd.json"), f.mcrd.config(outs), 0o644); err != nil {
			return "", err
		}
	}
	if strings.Contains(f.command, "{mcrd}") {
		words["mcrd"] = lab.Bin(t, "mcrd")
	}
	command := f.command
	for w, v := range words {
		command = strings.ReplaceAll(command, "{"+w+"}", v)
	}
	return command, nil
}

// destination i, from 1 on, is 10.9.x.y with x.y = i: the counter's key.
func destination(i uint32) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), inPort)
}
