// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"time"
)

// IfIndex is the kernel's interface index. 0 means "not known".
type IfIndex int32

// OutputID names one output for life: its counters, its source port and its socket stay with it through changes of
// endpoint, address or knobs. IDs grow and are never used twice.
type OutputID uint64

// ListID names one fan-out list, and with it the input counters of the MRIB entry that owns it, through all its
// changes. Never used twice.
type ListID uint64

// Engine names what moves the datagrams.
type Engine uint8

// Engines. Auto takes io_uring where the kernel and the sandbox allow it.
const (
	EngineAuto Engine = iota
	EngineURing
	EngineMMsg
)

func (e Engine) String() string { return [...]string{"auto", "uring", "mmsg"}[e] }

// ZeroCopy says when sends leave the payload where it is instead of copying it into the kernel.
type ZeroCopy uint8

// Auto: where runs are long and outputs many, and the kernel does not copy all the same.
const (
	ZeroCopyAuto ZeroCopy = iota
	ZeroCopyOn            // wherever it can be had
	ZeroCopyOff
)

// Plan is all that the dataplane is to do.
type Plan struct {
	Version  uint64 // grows with each Plan
	Points   []*Point
	Settings Settings
}

// Settings are the knobs of the dataplane as a whole.
type Settings struct {
	Engine              Engine
	Workers             int              // threads that replicate; 0: one for each CPU that may be used, and never more than that
	CPUs                []int            // that the workers are pinned to, in turn; none: not pinned
	GSOMaxSegments      int              // datagrams in one segmented send, 1..128 (64 on older kernels); 1 switches segmentation off
	GSOOff              map[IfIndex]bool // egress interfaces on which configuration switches segmentation off
	ReceiveBuffers      int              // provided buffers of a worker; a power of two
	ReceiveSocketBuffer int              // bytes of SO_RCVBUF of a receive point
	RingEntries         int              // submission entries; a power of two
	Coalesce            time.Duration    // how long to wait for more datagrams, once something came; at most 1 s
	BusyPoll            time.Duration    // how long to look for datagrams before sleeping; at most 1 s
	ZeroCopy            ZeroCopy
	MaximumSockets      int // points and outputs; 0, or more than that: 90 % of the descriptor limit
}

// PointKey is the identity of a receive point.
type PointKey struct {
	IfIndex IfIndex
	Group   netip.Addr
	Port    uint16 // 0: a port learner
}

// Method is how a receive point receives.
type Method uint8

// Methods. A socket sees what passes the kernel's reverse-path filter; packet sees what arrives on the interface.
const (
	MethodSocket Method = iota // a UDP socket
	MethodPacket               // AF_PACKET; needs CAP_NET_RAW
)

func (m Method) String() string { return [...]string{"socket", "packet"}[m] }

// Point is one receive point: a socket bound to group, port and device. It is never split by source, because two
// sockets for (*,G) and (S,G) would both get each datagram.
//
// With Port 0 it is a port learner: it watches the group's ports that have no Point, and tells each one on which
// something comes that a route wants (Event.Learnt). A later Plan has a Point for that port; what came meanwhile is
// forwarded by it. The learner's own routes carry nothing: their lists have what all ports of the group share.
type Point struct {
	PointKey
	IfName string // for messages only
	Method Method // with Port 0 without effect

	// Full, with Port 0: no more ports are wanted. Nothing is told; what comes for unknown ports counts as Limit.
	Full bool

	// JoinAny joins (*,G). Otherwise each of JoinSources is joined, source by source (RFC 3678).
	JoinAny     bool
	JoinSources []netip.Addr

	// Any serves sources that BySource does not name; nil drops them as no-match.
	Any      *Route
	BySource map[netip.Addr]*Route
}

// Route is what a datagram takes: every List, each output identity once.
type Route struct {
	Lists []*List // at most eight, the most specific first
	// Skip holds, for each List, the ascending positions of outputs that an earlier list already serves. A nil Skip,
	// or a nil element, skips nothing.
	Skip [][]int32
}

// List is the fan-out list of one MRIB entry.
type List struct {
	ID      ListID
	MinTTL  uint8     // datagrams that arrive with a smaller TTL are dropped and counted; 0 and 1 take all
	Blocked bool      // its copies come back: nothing is fanned out, and what comes counts as DroppedLoop
	Outputs []*Output // ascending by ID; those that are down as well, so that what they miss is counted
}

// TTLMode says where the TTL of a copy comes from.
type TTLMode uint8

// TTL modes.
const (
	TTLFixed     TTLMode = iota // Output.TTL
	TTLDecrement                // one less than what arrived; a copy that would have 0 is not sent
	TTLKeep                     // what arrived
	TTLAtMost                   // Output.TTL, or one less than what arrived if that is smaller; a copy that would have 0 is not sent
)

// DSCPKeep as Output.DSCP copies the code point that arrived. ECN bits are 0 either way.
const DSCPKeep = -1

// Output is one copy of each datagram.
type Output struct {
	ID   OutputID
	Up   bool   // false: nothing is sent; datagrams count as not-ready, and no socket is needed
	Name string // for messages only, such as "hybrid-feed/gre0@10.2.0.5:5000"

	// Branch is the output that this one is an instance of, with a smaller ID; 0: of none. Its counters are summed up there, and in
	// the Branch of that: those of an instance that goes stay in the sums, and the instances share the source port that the first of
	// them was given. The branch of instances sends nothing itself. It is one of two kinds:
	//
	//   - Dest has port 0: it keeps the port that arrives, and has an instance for each port there is. Status, problems and events of
	//     these are told as its own.
	//   - Dest has an unspecified address, and Up is set: it has an instance for each host that it stands for, and these tell of
	//     themselves. While Up is not set it is an output like any other that is down.
	Branch OutputID

	// Shares is another output of the same list that sends to the same place; 0: none. This one sends nothing, and what the other
	// counts from now on counts for it as well. The other one must not share.
	Shares OutputID

	IfIndex    IfIndex        // egress
	IfName     string         // for messages only
	MTU        int            // of the egress, bytes; longer datagrams are fragmented and never segmented
	Dest       netip.AddrPort // port 0, or an unspecified address: see Branch
	Source     netip.Addr     // source address of the copies
	SourcePort uint16         // 0: the kernel's choice at first, kept from then on

	TTLMode TTLMode
	TTL     uint8
	DSCP    int8 // 0..63 or DSCPKeep
}

// OutputCounters are the sums of one output since it was made. At any moment of quiet they are exact.
type OutputCounters struct {
	Packets, Octets uint64 // datagrams, and octets of UDP payload, that the kernel took
	Dropped         uint64 // given up before the kernel saw them
	NotReady        uint64 // came while the output was down
	SkippedTTL      uint64 // not sent because their TTL would have become 0

	// Errors are datagrams lost to an errno. The others count each errno seen, also where the retry made it good.
	Errors, Refused, Unreachable, NoBuffer, TooBig, Permission, Key, Other uint64
	LastError                                                              string // such as "EHOSTUNREACH"
	LastErrorTime                                                          time.Time
	LastPacketTime                                                         time.Time // zero before the first
}

// ListCounters are the sums of the entry that owns a List.
type ListCounters struct {
	Packets, Octets uint64 // fanned out
	DroppedTTL      uint64 // below MinTTL
	DroppedLoop     uint64 // of a loop: withheld to find out, or since one was found
	Looped          bool   // a loop was found since the Plan last had it Blocked; nothing is fanned out meanwhile
	LastPacketTime  time.Time
}

// PointCounters are the sums of one receive point.
type PointCounters struct {
	Packets, Octets uint64 // received, whether an entry wanted them or not
	NoMatch         uint64 // no entry wanted the source
	Truncated       uint64
	Overrun         uint64 // lost in the kernel's receive queue
	Checksum        uint64 // wrong UDP checksum; of a socket without those that the kernel drops unseen, which are short
	GSO             uint64 // longer than the MTU, and the segment size is not known; packet only
	Limit           uint64 // for ports that a full learner does not know; port learners only
}

// OutputStatus is what the dataplane knows about an output beside its counters.
type OutputStatus struct {
	LocalPort uint16 // source port in use; 0 while there is no socket
	GSOUsed   bool
	GSOReason string // why segmentation is used or not
	Failing   bool   // sends fail, or the receiver's host answers that the port is closed
	TTLTooLow bool   // copies are skipped because what arrives has TTL 1
	Err       error  // the latest reason, while Failing
}

// WorkerInfo describes one worker.
type WorkerInfo struct {
	CPU             int // that it is pinned to; -1: none
	Inputs, Outputs int // receive sockets and outputs that it serves
	TableVersion    uint64
}

// Info describes the running dataplane.
type Info struct {
	Engine        Engine
	EngineReason  string
	Kernel        string
	Features      []string // in use, such as "multishot-recvmsg"
	Missing       []string // tried and not found, each with the reason: "zero-copy: invalid argument"
	GSOSegments   int      // datagrams in one segmented send, at most; the kernel may take fewer than Settings ask for
	Workers       []WorkerInfo
	Rings         int
	InputSockets  int
	OutputSockets int
	SocketLimit   int
	BufferMemory  uint64    // bytes of rings and receive buffers
	TableVersion  uint64    // adopted by all workers
	TableTime     time.Time // when
}

// TotalCounters are the sums of the whole dataplane.
type TotalCounters struct {
	InPackets, InOctets, OutPackets, OutOctets, Errors, NoMatch, NoBuffer, ChecksumErrors, CompletionOverflows uint64
	LostAtHandOver                                                                                             uint64 // captured by port learners, and not forwarded
	ZeroCopySends, ZeroCopyCopied                                                                              uint64 // sends without a copy, and those of them that the kernel copied all the same
}

// WorkerCounters are the sums of one worker.
type WorkerCounters struct {
	Packets, Octets uint64 // received; twins of a receive point receive the same once more
	Runs            uint64 // groups of datagrams that were sent as one
	Sends           uint64
	Wakeups         uint64

	// How long datagrams were in the worker, received to sent, in the interval between the two latest readings that were
	// a second apart; 0: none was measured.
	ResidenceP50, ResidenceP99 time.Duration
}

// Problem is what kept a point or an output of a Plan from working. The rest of the Plan works.
type Problem struct {
	Point   PointKey // set for a receive point
	Output  OutputID // set for an output
	Setting string   // set for one of Settings: the leaf's name in YANG; what can be had of it is in force
	Err     error    // wraps the errno
}

// Adoption is a Plan that is ready: its sockets are open. Exactly one of Commit and Discard is called.
type Adoption interface {
	// Problems lists what will not work. They do not stand in the way of Commit.
	Problems() []Problem
	// Commit makes the Plan the running one. It cannot fail. The channel is closed when every worker has adopted it.
	Commit() <-chan struct{}
	// Discard closes what Prepare opened; traffic was never touched.
	Discard()
}

// Event tells that the OutputStatus of some outputs, or the socket of some points, changed, that datagrams come for a
// port that has no point, or that copies come back.
type Event struct {
	Outputs []OutputID // those that keep the port in place of their instances
	Points  []Problem  // receive points whose socket failed after Prepare
	Learnt  []PointKey // ports that a port learner saw
	Loops   []ListID   // lists whose copies come back; nothing is fanned out from then on, see ListCounters.Looped
	Lost    bool       // more changed than were kept: look at all
}

// Sight is a stream that was seen to arrive, wanted or not.
type Sight struct {
	IfIndex IfIndex
	Group   netip.Addr
	Port    uint16
}
