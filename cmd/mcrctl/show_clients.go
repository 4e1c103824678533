// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

var clientsPath = at("mcr", "system", "clients", "client")

// clientRow is …/clients/client.
type clientRow struct {
	ID    number `json:"id"`
	State struct {
		User     string   `json:"user"`
		Address  string   `json:"address"`
		RPC      string   `json:"rpc"`
		Mode     string   `json:"mode"`
		Encoding string   `json:"encoding"`
		Since    number   `json:"since"`
		Paths    []string `json:"paths"`
		Counters struct {
			Sent    number `json:"sent"`
			Waiting number `json:"waiting"`
			Merged  number `json:"merged"`
			Dropped number `json:"dropped"`
		} `json:"counters"`
	} `json:"state"`
}

func (a *app) showClientsCommand() *cobra.Command {
	return a.showListCommand("clients", "The gNMI calls that run: who, what, and how far behind", clientsPath, writeClients)
}

func writeClients(w io.Writer, us []update) error {
	rows, err := decode[clientRow](us)
	if err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b *clientRow) int { return cmp.Compare(a.ID, b.ID) })
	var t table
	t.row("ID", "USER", "ADDRESS", "CALL", "ENCODING", "SINCE", "SENT", "WAITING", "MERGED", "DROPPED", "PATHS")
	for _, r := range rows {
		s := &r.State
		call := s.RPC
		if s.Mode != "" && s.Mode != "none" {
			call += " " + s.Mode
		}
		since := "-"
		if s.Since != 0 {
			since = ago(us[0].Time, s.Since)
		}
		c := &s.Counters
		t.row(strconv.FormatUint(uint64(r.ID), 10), dash(s.User), dash(s.Address), dash(call), dash(s.Encoding), since,
			count(c.Sent), count(c.Waiting), count(c.Merged), count(c.Dropped), dash(strings.Join(s.Paths, " ")))
	}
	return t.write(w)
}
