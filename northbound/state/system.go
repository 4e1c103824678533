// SPDX-License-Identifier: Apache-2.0

package state

import (
	"os"
	"runtime"
	"runtime/metrics"

	"golang.org/x/sys/unix"

	"mcr/northbound/telemetry"
)

// system publishes what holds for the life of the process.
func (s *step) system() {
	var l leaves
	l.text("build-time", s.cfg.BuildTime)
	l.optional("commit", s.cfg.Commit)
	l.text("go-version", runtime.Version())
	if host, err := os.Hostname(); err == nil {
		l.text("hostname", host)
	}
	l.moment("start-time", s.cfg.Start)
	l.optional("version", s.cfg.Version)
	clock := s.cfg.Clock
	s.update(at(systemPath, "state"), l, func(dst []telemetry.Leaf) []telemetry.Leaf {
		return append(dst, telemetry.Leaf{Name: "current-time", Value: telemetry.Moment(clock())})
	})
	s.update(at(systemPath, "process", "state"), nil, processSample(s.proc, s.cfg.Subscriptions))
	s.instance()
}

// heapMetric is the Go heap in use; runtime/metrics does not stop the world to read it.
const heapMetric = "/memory/classes/heap/objects:bytes"

func processSample(proc *procReader, subscriptions func() int) func([]telemetry.Leaf) []telemetry.Leaf {
	pid := uint64(os.Getpid())
	return func(dst []telemetry.Leaf) []telemetry.Leaf {
		l := leaves(dst)
		if c, ok := proc.capabilities(); ok {
			l.texts("capabilities", c)
		}
		var ru unix.Rusage
		if unix.Getrusage(unix.RUSAGE_SELF, &ru) == nil {
			l.number("cpu-time", uint64(ru.Utime.Nano()+ru.Stime.Nano()))
		}
		if subscriptions != nil {
			l.count("gnmi-subscriptions", subscriptions())
		}
		l.count("goroutines", runtime.NumGoroutine())
		heap := []metrics.Sample{{Name: heapMetric}}
		if metrics.Read(heap); heap[0].Value.Kind() == metrics.KindUint64 {
			l.number("heap-memory", heap[0].Value.Uint64())
		}
		if n, ok := proc.openFiles(); ok {
			l.number("open-files", n)
		}
		var lim unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil {
			l.number("open-files-limit", min(lim.Cur, 1<<32-1))
		}
		l.number("pid", pid)
		if n, ok := proc.resident(); ok {
			l.number("resident-memory", n)
		}
		return l
	}
}
