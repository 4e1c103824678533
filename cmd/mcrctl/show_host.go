// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// mribOutput is an output of an MRIB entry.
type mribOutput struct {
	State struct {
		Interface     string `json:"interface"`
		Destination   string `json:"destination"`
		Port          uint16 `json:"port"`
		Encapsulation string `json:"encapsulation"`
		outputState
		Origins []string `json:"origins"`
	} `json:"state"`
}

// mribEntry is an entry of the forwarding table.
type mribEntry struct {
	State struct {
		Interface string `json:"interface"`
		Source    string `json:"source"`
		Group     string `json:"group"`
		Port      uint16 `json:"port"`
		inputState
		Origins []string `json:"origins"`
	} `json:"state"`
	Outputs struct {
		Output []*mribOutput `json:"output"`
	} `json:"outputs"`
}

// key is how an entry is written: (S,G:port) or (*,G:port).
func (e *mribEntry) key() string {
	source := e.State.Source
	if source == "" || source == "0.0.0.0" {
		source = "*"
	}
	return fmt.Sprintf("(%s,%s:%s)", source, e.State.Group, anyPort(e.State.Port))
}

func anyPort(p uint16) string {
	if p == 0 {
		return "*"
	}
	return fmt.Sprint(p)
}

// writeMRIB prints a line per entry, and below it one per output.
func writeMRIB(w io.Writer, us []update) error {
	all, err := decode[mribEntry](us)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b *mribEntry) int {
		return cmp.Or(strings.Compare(a.State.Group, b.State.Group), cmp.Compare(a.State.Port, b.State.Port),
			strings.Compare(a.State.Interface, b.State.Interface), strings.Compare(a.State.Source, b.State.Source))
	})
	var t table
	t.row("ENTRY", "INTERFACE", "STATE", "STREAM", "PACKETS", "ORIGINS", "HER")
	for _, e := range all {
		s := &e.State
		t.row(e.key(), s.Interface, state(s.OperStatus, s.DownReason), state(s.InputStatus, s.DiscardReason),
			count(s.Counters.Packets), strings.Join(s.Origins, ","))
		for _, o := range e.Outputs.Output {
			s := &o.State
			dest := s.Destination
			if dest == "0.0.0.0" {
				dest = "no endpoint"
			}
			t.row(fmt.Sprintf("  > %s:%s", dest, anyPort(s.Port)), s.Interface, state(s.OperStatus, s.DownReason), "",
				count(s.Counters.Packets), strings.Join(s.Origins, ","), s.her())
		}
	}
	return t.write(w)
}

// hostInterface is …/interfaces/interface.
type hostInterface struct {
	Name  string `json:"name"`
	State struct {
		Kind         string `json:"kind"`
		OperStatus   string `json:"oper-status"`
		AdminStatus  string `json:"admin-status"`
		MTU          number `json:"mtu"`
		Multicast    bool   `json:"multicast"`
		PointToPoint bool   `json:"point-to-point"`
		Master       string `json:"master"`
		Counters     struct {
			In          number `json:"in-pkts"`
			Out         number `json:"out-pkts"`
			Transitions number `json:"carrier-transitions"`
		} `json:"counters"`
	} `json:"state"`
	Subinterfaces struct {
		Subinterface []struct {
			IPv4 struct {
				Addresses struct {
					Address []struct {
						State struct {
							IP     string `json:"ip"`
							Length number `json:"prefix-length"`
							Peer   string `json:"peer"`
						} `json:"state"`
					} `json:"address"`
				} `json:"addresses"`
			} `json:"ipv4"`
		} `json:"subinterface"`
	} `json:"subinterfaces"`
}

func (i *hostInterface) addresses() string {
	var all []string
	for _, sub := range i.Subinterfaces.Subinterface {
		for _, a := range sub.IPv4.Addresses.Address {
			s := fmt.Sprintf("%s/%d", a.State.IP, a.State.Length)
			if a.State.Peer != "" {
				s += " peer " + a.State.Peer
			}
			all = append(all, s)
		}
	}
	return strings.Join(all, ", ")
}

func writeInterfaces(w io.Writer, us []update) error {
	all, err := decode[hostInterface](us)
	if err != nil {
		return err
	}
	var t table
	t.row("INTERFACE", "KIND", "STATE", "MTU", "MULTICAST", "P2P", "MASTER", "PACKETS IN", "OUT", "CARRIER", "ADDRESSES")
	for n, i := range all {
		s := &i.State
		t.row(cmp.Or(i.Name, lastKey(us[n].Path, "name")), dash(s.Kind), strings.ToLower(dash(s.OperStatus)), fmt.Sprint(s.MTU),
			yes(s.Multicast), yes(s.PointToPoint), dash(s.Master), count(s.Counters.In), count(s.Counters.Out), count(s.Counters.Transitions),
			dash(i.addresses()))
	}
	return t.write(w)
}

// dataplaneState is /mcr/dataplane.
type dataplaneState struct {
	State struct {
		Engine          string   `json:"engine-used"`
		EngineReason    string   `json:"engine-reason"`
		Kernel          string   `json:"kernel"`
		Features        []string `json:"features"`
		FeaturesMissing []string `json:"features-missing"`
		Workers         number   `json:"worker-count"`
		InputSockets    number   `json:"input-sockets"`
		OutputSockets   number   `json:"output-sockets"`
		SocketLimit     number   `json:"socket-limit"`
		Table           number   `json:"table-version"`
		Counters        struct {
			In       number `json:"in-packets"`
			Out      number `json:"out-packets"`
			Errors   number `json:"errors"`
			NoBuffer number `json:"no-buffer"`
			NoMatch  number `json:"no-match"`
			Checksum number `json:"checksum-errors"`
		} `json:"counters"`
	} `json:"state"`
	Workers struct {
		Worker []struct {
			ID    number `json:"id"`
			State struct {
				CPU      *number `json:"cpu"`
				Inputs   number  `json:"input-count"`
				Outputs  number  `json:"output-count"`
				Counters struct {
					Packets number `json:"packets"`
				} `json:"counters"`
			} `json:"state"`
		} `json:"worker"`
	} `json:"workers"`
	Egress struct {
		Interface []struct {
			Name  string `json:"name"`
			State struct {
				Used   bool   `json:"gso-used"`
				Reason string `json:"gso-reason"`
			} `json:"state"`
		} `json:"egress-interface"`
	} `json:"egress-interfaces"`
}

func writeDataplane(w io.Writer, us []update) error {
	all, err := decode[dataplaneState](us)
	if err != nil {
		return err
	}
	var t table
	for _, d := range all {
		s := &d.State
		t.row("engine", dash(state(s.Engine, s.EngineReason)))
		t.row("kernel", dash(s.Kernel))
		t.row("features", dash(strings.Join(s.Features, ", ")))
		t.row("missing", dash(strings.Join(s.FeaturesMissing, ", ")))
		t.row("workers", count(s.Workers))
		for _, wk := range d.Workers.Worker {
			ws := &wk.State
			row := fmt.Sprintf("%s packets, %s input sockets, %s outputs", count(ws.Counters.Packets), count(ws.Inputs), count(ws.Outputs))
			if ws.CPU != nil {
				row += ", on CPU " + count(*ws.CPU)
			}
			t.row("worker "+count(wk.ID), row)
		}
		t.row("table", "version "+count(s.Table))
		t.row("sockets", fmt.Sprintf("%s receive, %s send, at most %s", count(s.InputSockets), count(s.OutputSockets), count(s.SocketLimit)))
		t.row("packets", fmt.Sprintf("%s in, %s out", count(s.Counters.In), count(s.Counters.Out)))
		t.row("errors", fmt.Sprintf("%s sending, %s out of buffers, %s unwanted, %s wrong checksums on this host",
			count(s.Counters.Errors), count(s.Counters.NoBuffer), count(s.Counters.NoMatch), count(s.Counters.Checksum)))
		for _, e := range d.Egress.Interface {
			t.row("gso "+e.Name, state(yes(e.State.Used), e.State.Reason))
		}
	}
	return t.write(w)
}
