// SPDX-License-Identifier: Apache-2.0

package metrics

// group is the Units at a path and the families that are made of their leaves.
type group struct {
	path     string // without keys: all entries
	labels   func(*scrape, *unit) labels
	families []family
	more     func(*scrape, *unit, labels) // what is not one leaf, one series
}

// family is a metric family, and the leaf below the Unit that its values are.
type family struct {
	name, help string
	leaf       string
	counter    bool    // else a gauge
	scale      float64 // from the leaf's unit to the family's; 0: 1
}

func (f *family) unit() float64 {
	if f.scale == 0 {
		return 1
	}
	return f.scale
}

// nano makes seconds of nanoseconds.
const nano = 1e-9

// groups are read in this order: outputs show the port of their rule's input.
var groups = []group{
	{
		path: "/mcr/system/state",
		families: []family{
			{name: "process_start_time_seconds", help: "When the daemon started, in seconds since 1970.", leaf: "start-time", scale: nano},
		},
		more: func(s *scrape, u *unit, _ labels) {
			s.add(&buildInfo, pairs("goversion", u.text("go-version"), "revision", u.text("commit"), "version", u.text("version")), 1)
		},
	},
	{
		path: "/mcr/system/process/state",
		families: []family{
			{name: "process_cpu_seconds_total", help: "CPU time used.", leaf: "cpu-time", counter: true, scale: nano},
			{name: "process_resident_memory_bytes", help: "Memory that is resident.", leaf: "resident-memory"},
			{name: "process_open_fds", help: "Open file descriptors.", leaf: "open-files"},
			{name: "process_max_fds", help: "Most file descriptors that may be open.", leaf: "open-files-limit"},
			{name: "go_memstats_heap_alloc_bytes", help: "Go heap in use.", leaf: "heap-memory"},
			{name: "go_goroutines", help: "Goroutines.", leaf: "goroutines"},
			{name: "mcr_gnmi_subscriptions", help: "Subscribe calls that run.", leaf: "gnmi-subscriptions"},
		},
	},
	{
		path: "/mcr/system/configuration/state",
		families: []family{
			{name: "mcr_configuration_revision", help: "Goes up by one with each accepted change.", leaf: "revision"},
			{name: "mcr_configuration_last_commit_timestamp_seconds", help: "When the configuration last changed.", leaf: "last-commit-time", scale: nano},
			{name: "mcr_configuration_start_file_differs", help: "1 if the start-up file says something else than what runs.", leaf: "start-file-differs"},
		},
		more: func(s *scrape, u *unit, _ labels) {
			s.add(&commitPending, nil, bit(u.leaf("pending-commit-id").Kind != 0))
		},
	},
	{
		path: "/mcr/system/gnmi/state",
		families: []family{
			{name: "mcr_gnmi_dropped_clients_total", help: "gNMI clients that were dropped because they took nothing.", leaf: "counters/dropped-clients", counter: true},
		},
	},
	{
		path:   "/mcr/system/rpcs/rpc/state",
		labels: func(_ *scrape, u *unit) labels { return pairs("code", u.key(3, 1), "rpc", u.key(3, 0)) },
		families: []family{
			{name: "mcr_gnmi_calls_total", help: "gNMI calls that have ended, by call and status code.", leaf: "counters/calls", counter: true},
		},
	},
	{
		path: "/mcr/system/clients/client/state",
		more: func(s *scrape, u *unit, _ labels) {
			s.sum(&activeCalls, pairs("rpc", u.text("rpc")), 1)
			s.sum(&waitingUpdates, nil, float64(u.leaf("counters/waiting").Num))
		},
	},
	{
		path: "/mcr/forwarding/state",
		families: []family{
			{name: "mcr_rules", help: "Configured rules.", leaf: "rule-count"},
			{name: "mcr_outputs", help: "Configured outputs of all rules.", leaf: "output-count"},
		},
	},
	{
		path: "/mcr/mrib/state",
		families: []family{
			{name: "mcr_mrib_entries", help: "Entries of the forwarding table, configured and learnt.", leaf: "entry-count"},
			{name: "mcr_mrib_outputs", help: "Outputs of all entries of the forwarding table.", leaf: "output-count"},
			{name: "mcr_mrib_outputs_up", help: "Outputs of all entries of the forwarding table that are up.", leaf: "output-up-count"},
			{name: "mcr_mrib_unicast_outputs", help: "Outputs of all entries of the forwarding table that send unicast.", leaf: "her-output-count"},
		},
	},
	{
		path: "/mcr/dataplane/state",
		families: []family{
			{name: "mcr_dataplane_received_packets_total", help: "Datagrams received.", leaf: "counters/in-packets", counter: true},
			{name: "mcr_dataplane_received_bytes_total", help: "UDP payload received.", leaf: "counters/in-octets", counter: true},
			{name: "mcr_dataplane_sent_packets_total", help: "Copies sent.", leaf: "counters/out-packets", counter: true},
			{name: "mcr_dataplane_sent_bytes_total", help: "UDP payload of the copies sent.", leaf: "counters/out-octets", counter: true},
			{name: "mcr_dataplane_send_errors_total", help: "Sends that failed.", leaf: "counters/errors", counter: true},
			{name: "mcr_dataplane_unmatched_packets_total", help: "Datagrams received that no entry wanted.", leaf: "counters/no-match", counter: true},
			{name: "mcr_dataplane_checksum_errors_total", help: "Datagrams that the kernel dropped for a wrong UDP checksum, in the whole network namespace.", leaf: "counters/checksum-errors", counter: true},
			{name: "mcr_dataplane_receive_buffer_shortages_total", help: "Times that receive buffers ran out.", leaf: "counters/no-buffer", counter: true},
			{name: "mcr_dataplane_completion_overflows_total", help: "Overflows of a completion queue.", leaf: "counters/completion-overflows", counter: true},
			{name: "mcr_dataplane_buffer_memory_bytes", help: "Memory of rings and receive buffers.", leaf: "buffer-memory"},
			{name: "mcr_dataplane_input_sockets", help: "Sockets that receive.", leaf: "input-sockets"},
			{name: "mcr_dataplane_output_sockets", help: "Sockets that send.", leaf: "output-sockets"},
			{name: "mcr_dataplane_max_sockets", help: "Most sockets that may be open.", leaf: "socket-limit"},
		},
		more: func(s *scrape, u *unit, _ labels) {
			s.add(&dataplaneInfo, pairs("engine", u.text("engine-used"), "kernel", u.text("kernel")), 1)
		},
	},
	{
		path:   "/mcr/dataplane/workers/worker/state",
		labels: func(_ *scrape, u *unit) labels { return pairs("worker", u.key(3, 0)) },
		families: []family{
			{name: "mcr_worker_packets_total", help: "Datagrams received by a worker.", leaf: "counters/packets", counter: true},
			{name: "mcr_worker_bytes_total", help: "UDP payload received by a worker.", leaf: "counters/octets", counter: true},
			{name: "mcr_worker_runs_total", help: "Groups of datagrams that a worker sent as one.", leaf: "counters/runs", counter: true},
			{name: "mcr_worker_sends_total", help: "Send operations of a worker.", leaf: "counters/sends", counter: true},
			{name: "mcr_worker_wakeups_total", help: "Times that a worker woke.", leaf: "counters/wakeups", counter: true},
		},
	},
	{
		path:   "/mcr/dataplane/egress-interfaces/egress-interface/state",
		labels: func(_ *scrape, u *unit) labels { return pairs("interface", u.key(3, 0)) },
		families: []family{
			{name: "mcr_egress_gso", help: "1 if segmentation offload is used on the interface.", leaf: "gso-used"},
			{name: "mcr_egress_transmit_dropped_packets_total", help: "Packets dropped by the device and its queueing discipline, from whatever sender.", leaf: "counters/transmit-dropped", counter: true},
		},
	},
	ruleGroup,
	outputGroup,
}

var (
	buildInfo      = family{name: "mcr_build_info", help: "1, with what the daemon was built from as labels."}
	dataplaneInfo  = family{name: "mcr_dataplane_info", help: "1, with the engine that runs and the kernel's release as labels."}
	commitPending  = family{name: "mcr_configuration_commit_pending", help: "1 while a commit waits to be confirmed."}
	activeCalls    = family{name: "mcr_gnmi_active_calls", help: "gNMI calls that run now."}
	waitingUpdates = family{name: "mcr_gnmi_waiting_updates", help: "Updates that wait to be sent, of all gNMI clients."}
)

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
