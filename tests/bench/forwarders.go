// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mcr/tests/lab"
)

// forwarder is one thing to measure.
type forwarder struct {
	name    string
	command string // for the shell, with {words}
	// prepare, if there is one, writes what the command needs; dir is new for each run.
	prepare func(dir string, outs []netip.AddrPort) error
}

// bare is a run without forwarder: what the source costs by itself.
var bare = forwarder{name: "none", command: "exec sleep 1000"}

// parseForwarder takes the name of a known one, or NAME=COMMAND.
func parseForwarder(s string) forwarder {
	if name, command, ok := strings.Cut(s, "="); ok {
		return forwarder{name: name, command: command}
	}
	if s == "mcrd" {
		return forwarder{
			name:    s,
			command: "exec {mcrd} --state-dir {dir}/state --listen unix://{dir}/mcrd.sock --config {dir}/mcrd.json5",
			prepare: func(dir string, outs []netip.AddrPort) error {
				return os.WriteFile(filepath.Join(dir, "mcrd.json5"), mcrdConfig(outs), 0o644)
			},
		}
	}
	return forwarder{name: s, command: "exec {self} fwd " + s + " -iface {iif} -group {group}:{port} -outs {outs}"}
}

// mcrdConfig is one rule in MCR's JSON5 form, of which JSON is a part.
func mcrdConfig(outs []netip.AddrPort) []byte {
	type output struct {
		Interface string     `json:"interface"`
		Unicast   netip.Addr `json:"unicast_dest"`
		Port      uint16     `json:"port"`
	}
	rule := map[string]any{"name": "bench", "input": map[string]any{"interface": inIface, "group": inGroup, "port": inPort}}
	outputs := make([]output, len(outs))
	for i, o := range outs {
		outputs[i] = output{outIface, o.Addr(), o.Port()}
	}
	rule["outputs"] = outputs
	return must(json.Marshal(map[string]any{"rules": []any{rule}}))
}

// commandLine writes the outputs to a file of one ADDRESS:PORT per line and fills the words in.
func (f forwarder) commandLine(t lab.TB, dir string, outs []netip.AddrPort) (string, error) {
	var list []string
	for _, o := range outs {
		list = append(list, o.String())
	}
	file := filepath.Join(dir, "outs")
	if err := os.WriteFile(file, []byte(strings.Join(list, "\n")+"\n"), 0o644); err != nil {
		return "", err
	}
	if f.prepare != nil {
		if err := f.prepare(dir, outs); err != nil {
			return "", err
		}
	}
	words := map[string]string{
		"N": strconv.Itoa(len(outs)), "outs": file, "list": strings.Join(list, ","), "dir": dir,
		"iif": inIface, "oif": outIface, "group": inGroup, "port": strconv.Itoa(inPort), "self": must(os.Executable()),
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
	return must(netip.ParseAddrPort(fmt.Sprintf("10.9.%d.%d:%d", i>>8, i&255, inPort)))
}
