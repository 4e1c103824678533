// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"strconv"
	"time"

	"github.com/openconfig/ygot/ygot"

	"mcr/dataplane/plan"
	"mcr/mroute"
	"mcr/mroute/mrib"
	"mcr/northbound/telemetry"
)

// forwarding publishes the settings and figures of the whole.
func (s *step) forwarding() {
	s.limits()
	g := s.global
	if g == nil {
		return
	}
	f := &g.Forwarding
	var l leaves
	l.flag("auto-her-for-p2p-tunnels", f.AutoHER)
	l.text("her-mode", herModes[cmp.Or(f.HERMode, mrib.HERAuto)])
	if f.MinimumInputTTL != nil {
		l.number("minimum-input-ttl", uint64(*f.MinimumInputTTL))
	}
	if f.MulticastTTL != 0 {
		l.number("multicast-ttl", uint64(f.MulticastTTL))
	}
	l.text("multicast-ttl-policy", [...]string{plan.TTLFixed: "fixed", plan.TTLDecrement: "decrement", plan.TTLKeep: "keep"}[f.MulticastTTLMode])
	l.count("output-count", g.RuleOutputs)
	l.number("rediscovery-interval", uint64(f.RediscoveryInterval/time.Second))
	l.count("rule-count", g.Rules)
	l.number("unicast-ttl", uint64(f.UnicastTTL))
	s.update(names("mcr", "forwarding", "state"), l, nil)

	var m leaves
	m.count("entry-count", g.Entries)
	m.count("her-output-count", g.UnicastCount)
	m.count("output-count", g.Outputs)
	m.count("output-up-count", g.OutputsUp)
	m.number("version", g.Version)
	s.update(names("mcr", "mrib", "state"), m, nil)
}

// limits publishes the limits in force.
func (s *step) limits() {
	c := s.device.GetMcr().GetForwarding().GetLimits().GetConfig()
	var l leaves
	l.number("maximum-entries", uint64(c.GetMaximumEntries()))
	l.number("maximum-outputs", uint64(c.GetMaximumOutputs()))
	l.number("maximum-outputs-per-entry", uint64(c.GetMaximumOutputsPerEntry()))
	l.number("maximum-rules", uint64(c.GetMaximumRules()))
	switch {
	case c.GetMaximumSockets() != 0:
		l.number("maximum-sockets", uint64(c.GetMaximumSockets()))
	case s.global != nil && s.global.Dataplane.SocketLimit != 0:
		l.count("maximum-sockets", s.global.Dataplane.SocketLimit)
	}
	s.update(names("mcr", "forwarding", "limits", "state"), l, nil)
}

// dataplane publishes the engine and its workers.
func (s *step) dataplane() {
	if s.global == nil {
		return
	}
	c := s.device.GetMcr().GetDataplane().GetConfig()
	in := &s.global.Dataplane
	var l leaves
	l.number("busy-poll-usec", uint64(c.GetBusyPollUsec()))
	l.number("coalesce-usec", uint64(c.GetCoalesceUsec()))
	l.numbers("cpus", c.GetCpus())
	l.value("engine", enumValue(c.GetEngine()))
	l.optional("engine-reason", in.EngineReason)
	if in.Engine != plan.EngineAuto {
		l.text("engine-used", in.Engine.String())
	}
	l.texts("features", in.Features)
	l.texts("features-missing", in.Missing)
	l.number("gso-max-segments", uint64(min(int(c.GetGsoMaxSegments()), cmp.Or(in.GSOSegments, 1<<10))))
	l.count("input-sockets", in.InputSockets)
	l.optional("kernel", in.Kernel)
	l.count("output-sockets", in.OutputSockets)
	l.number("receive-buffers", uint64(c.GetReceiveBuffers()))
	l.number("receive-socket-buffer", uint64(c.GetReceiveSocketBuffer()))
	l.count("ring-count", in.Rings)
	l.number("ring-entries", uint64(c.GetRingEntries()))
	l.count("socket-limit", in.SocketLimit)
	l.moment("table-change-time", in.TableTime)
	l.number("table-version", in.TableVersion)
	l.count("worker-count", len(in.Workers))
	l.number("workers", uint64(c.GetWorkers()))
	l.value("zero-copy", enumValue(c.GetZeroCopy()))
	s.update(at(dataplanePath, "state"), l, dataplaneSample(s.cfg.Counters))
	s.portLearner()
	s.setWorkers(in.Workers)
}

func dataplaneSample(counters Counters) func([]telemetry.Leaf) []telemetry.Leaf {
	return func(dst []telemetry.Leaf) []telemetry.Leaf {
		l := leaves(dst)
		c := counters.Totals()
		l.number("buffer-memory", counters.Info().BufferMemory)
		l.number("counters/checksum-errors", c.ChecksumErrors)
		l.number("counters/completion-overflows", c.CompletionOverflows)
		l.number("counters/errors", c.Errors)
		l.number("counters/in-octets", c.InOctets)
		l.number("counters/in-packets", c.InPackets)
		l.number("counters/no-buffer", c.NoBuffer)
		l.number("counters/no-match", c.NoMatch)
		l.number("counters/out-octets", c.OutOctets)
		l.number("counters/out-packets", c.OutPackets)
		l.number("counters/zero-copy-copied", c.ZeroCopyCopied)
		l.number("counters/zero-copy-sends", c.ZeroCopySends)
		return l
	}
}

// portLearner publishes how entries without port find their ports.
func (s *step) portLearner() {
	g := s.global
	if g == nil {
		return
	}
	var l leaves
	l.number("learnt-port-count", uint64(g.LearntPorts))
	l.number("learnt-port-hold", uint64(g.PortLearner.Hold/time.Second))
	l.number("maximum-learnt-ports", uint64(g.PortLearner.MaximumPorts))
	counters := s.cfg.Counters
	s.update(at(dataplanePath, "port-learner", "state"), l, func(dst []telemetry.Leaf) []telemetry.Leaf {
		l := leaves(dst)
		l.number("counters/lost-at-hand-over", counters.Totals().LostAtHandOver)
		return l
	})
}

// setWorkers publishes one Unit for each worker.
func (s *step) setWorkers(ws []plan.WorkerInfo) {
	path := func(i int) telemetry.Path {
		return append(entryAt(at(dataplanePath, "workers"), "worker", "id", strconv.Itoa(i)), stateElem)
	}
	for i, w := range ws {
		var l leaves
		if w.CPU >= 0 {
			l.count("cpu", w.CPU)
		}
		l.count("id", i)
		l.count("input-count", w.Inputs)
		l.count("output-count", w.Outputs)
		l.number("table-version", w.TableVersion)
		s.update(path(i), l, workerSample(s.cfg.Counters, i))
	}
	for i := len(ws); i < s.workers; i++ {
		s.remove(path(i))
	}
	s.workers = len(ws)
}

func workerSample(counters Counters, id int) func([]telemetry.Leaf) []telemetry.Leaf {
	return func(dst []telemetry.Leaf) []telemetry.Leaf {
		all := counters.Workers()
		if id >= len(all) {
			return dst
		}
		l := leaves(dst)
		c := all[id]
		l.number("counters/octets", c.Octets)
		l.number("counters/packets", c.Packets)
		l.number("counters/runs", c.Runs)
		l.number("counters/sends", c.Sends)
		l.number("counters/wakeups", c.Wakeups)
		if c.ResidenceP50 > 0 {
			l.number("residence-p50", uint64(c.ResidenceP50))
			l.number("residence-p99", uint64(c.ResidenceP99))
		}
		return l
	}
}

// egress publishes what was decided for sending on one interface.
func (s *step) egress(name string, e *mroute.EgressState) {
	path := append(entryAt(at(dataplanePath, "egress-interfaces"), "egress-interface", "name", name), stateElem)
	if e == nil {
		s.remove(path)
		return
	}
	var l leaves
	if e.Configured {
		l.text("gso", "off")
	} else {
		l.text("gso", "auto")
	}
	l.optional("gso-reason", e.GSOReason)
	l.flag("gso-used", e.GSOUsed)
	l.text("name", name)
	s.update(path, l, s.egressSample(name))
}

// egressSample adds up what the device and its queueing discipline dropped: the kernel counts neither in the other.
func (s *step) egressSample(name string) func([]telemetry.Leaf) []telemetry.Leaf {
	proc, queue := s.proc, s.cfg.QueueDrops
	return func(dst []telemetry.Leaf) []telemetry.Leaf {
		c, ok := proc.link(name)
		if !ok {
			return dst
		}
		n := c.outDiscards
		if queue != nil {
			q, _ := queue(name)
			n += q
		}
		l := leaves(dst)
		l.number("counters/transmit-dropped", n)
		return l
	}
}

// remoteJoin says whether there is a key, which no other leaf shows.
func (s *step) remoteJoin() {
	path := names("mcr", "remote-join", "state")
	c := s.device.GetMcr().GetRemoteJoin().GetConfig()
	if c == nil {
		s.remove(path)
		return
	}
	var l leaves
	l.flag("key-set", c.SharedKey != nil)
	s.update(path, l, nil)
}

// enumValue is an enumeration by its YANG name; absent where it is not set.
func enumValue[E interface {
	~int64
	ygot.GoEnum
}](e E) telemetry.Value {
	if e == 0 {
		return telemetry.Value{}
	}
	return telemetry.String(e.String())
}
