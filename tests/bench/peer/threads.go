// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net"
	"runtime"

	"golang.org/x/sys/unix"
)

// frameSize takes a jumbo frame.
const frameSize = 16384

// frame is one datagram's payload on its way to the third thread.
type frame struct {
	b []byte
	n int
}

// threads is MCR's older design: AF_PACKET receive, a channel, a copy, a channel, an io_uring with one SEND for each output,
// waited for. It knows neither fragments nor checksums, so its check is not clean.
func threads(c *config) error {
	hold := inputSocket(c, false) // has the membership alone; its own queue is kept shut
	drop := []unix.SockFilter{{Code: unix.BPF_RET, K: 0}}
	check(unix.SetsockoptSockFprog(hold, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]}))
	ifi := must(net.InterfaceByName(c.iface))
	in := must(unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
	receiveBuffer(in, c.rcvbuf)
	const ethIP = 0x0008 // ETH_P_IP, network order
	check(unix.Bind(in, &unix.SockaddrLinklayer{Protocol: ethIP, Ifindex: ifi.Index}))
	outs := outputSockets(c)

	const inFlight = 1024
	rx, tx := make(chan []byte, inFlight), make(chan frame, inFlight)
	freeRx, freeTx := make(chan []byte, inFlight), make(chan []byte, inFlight)
	for range inFlight {
		freeRx <- make([]byte, frameSize)
		freeTx <- must(arena(frameSize))
	}
	go func() {
		runtime.LockOSThread()
		receiveFrames(c, in, freeRx, rx)
	}()
	go copyFrames(rx, freeRx, freeTx, tx)
	runtime.LockOSThread()
	return sendFrames(must(NewRing(1024, 4096)), outs, tx, freeTx)
}

func receiveFrames(c *config, fd int, free chan []byte, rx chan<- []byte) {
	group, port := c.group.Addr().As4(), c.group.Port()
	for b := range free {
		n, err := unix.Read(fd, b[:frameSize])
		if err != nil || n < 28 || b[9] != unix.IPPROTO_UDP || [4]byte(b[16:20]) != group || uint16(b[22])<<8|uint16(b[23]) != port {
			free <- b
			continue
		}
		rx <- b[:n]
	}
}

func copyFrames(rx <-chan []byte, freeRx chan<- []byte, freeTx <-chan []byte, tx chan<- frame) {
	for b := range rx {
		m := <-freeTx
		n := min(max(int(b[24])<<8|int(b[25])-8, 0), len(b)-28)
		copy(m, b[28:28+n])
		freeRx <- b[:frameSize]
		tx <- frame{m, n}
	}
}

func sendFrames(ring *Ring, outs []int32, tx <-chan frame, free chan<- []byte) error {
	for p := range tx {
		for left := outs; len(left) > 0; {
			n := min(len(left), 1024)
			for _, fd := range left[:n] {
				e := ring.SQE()
				e.Opcode, e.FD, e.Addr, e.Len = opSend, fd, uptr(&p.b[0]), uint32(p.n)
			}
			left = left[n:]
			for done := 0; done < n; {
				if err := ring.Enter(uint32(n - done)); err != nil {
					return err
				}
				done += ring.Drain(func(*CQE) {})
			}
		}
		free <- p.b
	}
	return nil
}
