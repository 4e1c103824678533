// SPDX-License-Identifier: Apache-2.0

package afpacket

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

const (
	theGroup  = 239<<24 | 1<<16 | 1<<8 | 1
	theSource = 10<<24 | 8<<16 | 1
)

var (
	theWant  = Want{Group: theGroup, Port: 5000}
	noAux    = Aux{Network: -1}
	groupIP  = net.IPv4(239, 1, 1, 1)
	sourceIP = net.IPv4(10, 8, 0, 1)
)

// made is a frame as the kernel gives it, written by gopacket.
type made struct {
	vlan    uint16
	raw     bool // no Ethernet header
	options bool
	payload []byte
	after   []byte // Ethernet padding
}

func (m made) frame(t testing.TB) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 7, TOS: 0xb9, Protocol: layers.IPProtocolUDP, SrcIP: sourceIP, DstIP: groupIP}
	if m.options {
		ip.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}} // router alert
	}
	udp := &layers.UDP{SrcPort: 40000, DstPort: 5000}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	ls := []gopacket.SerializableLayer{ip, udp, gopacket.Payload(m.payload)}
	if !m.raw {
		eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{1, 0, 0x5e, 1, 1, 1}, EthernetType: layers.EthernetTypeIPv4}
		if m.vlan != 0 {
			eth.EthernetType = layers.EthernetTypeDot1Q
			ls = slices.Insert(ls, 0, gopacket.SerializableLayer(&layers.Dot1Q{VLANIdentifier: m.vlan, Type: layers.EthernetTypeIPv4}))
		}
		ls = slices.Insert(ls, 0, gopacket.SerializableLayer(eth))
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		t.Fatal(err)
	}
	return slices.Concat(make([]byte, virtioHeader), b.Bytes(), m.after)
}

const (
	ipAt  = virtioHeader + etherOffset
	udpAt = ipAt + ipHeader
)

// change returns a copy of b with the byte at i changed.
func change(b []byte, i int) []byte {
	b = slices.Clone(b)
	b[i] ^= 0x10
	return b
}

// virtio returns a copy of b with another virtio-net header.
func virtio(b []byte, flags, gso byte, size uint16) []byte {
	b = slices.Clone(b)
	b[0], b[1] = flags, gso
	binary.NativeEndian.PutUint16(b[4:], size)
	return b
}

// fix writes the IP header's checksum anew.
func fix(b []byte) []byte {
	ip := b[ipAt:]
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^fold(sum(0, ip[:ipHeader])))
	return b
}

// put returns a copy of b with v at i, and the IP checksum right.
func put(b []byte, i int, v uint16) []byte {
	b = slices.Clone(b)
	binary.BigEndian.PutUint16(b[i:], v)
	return fix(b)
}

// D4, D5, P1.8: what the kernel's UDP would take is taken, with what gopacket wrote; nothing else is.
func TestParse(t *testing.T) {
	pay := []byte("seventeen bytes..")
	plain := made{payload: pay}.frame(t)
	long := made{payload: bytes.Repeat([]byte("x"), 3001)}.frame(t)
	absent := put(plain, udpAt+6, 0)
	wrong := change(plain, udpAt+udpHeader)
	for _, c := range []struct {
		name string
		b    []byte
		link uint16
		aux  Aux
		want Verdict
		seg  int // of a whole one
	}{
		{"Ethernet", plain, unix.ARPHRD_ETHER, noAux, Whole, 17},
		{"the kernel says where IP begins", plain, unix.ARPHRD_ETHER, Aux{Network: etherOffset}, Whole, 17},
		{"padding is cut off", made{payload: pay, after: make([]byte, 30)}.frame(t), unix.ARPHRD_ETHER, noAux, Whole, 17},
		{"0 bytes", made{after: make([]byte, 18)}.frame(t), unix.ARPHRD_ETHER, noAux, Whole, 0},
		{"IP options", made{payload: pay, options: true}.frame(t), unix.ARPHRD_ETHER, noAux, Whole, 17},
		{"a VLAN tag in the frame", made{payload: pay, vlan: 5}.frame(t), unix.ARPHRD_ETHER, noAux, Whole, 17},
		{"TUN", made{payload: pay, raw: true}.frame(t), unix.ARPHRD_NONE, Aux{Network: 0}, Whole, 17},
		{"GRE, behind the outer header", slices.Insert(made{payload: pay, raw: true}.frame(t), virtioHeader, make([]byte, 24)...), unix.ARPHRD_IPGRE, Aux{Network: 24}, Whole, 17},
		{"loopback", plain, unix.ARPHRD_LOOPBACK, noAux, Whole, 17},
		{"jumbo", made{payload: make([]byte, 8900)}.frame(t), unix.ARPHRD_ETHER, noAux, Whole, 8900},
		{"the longest", made{payload: make([]byte, 65507)}.frame(t), unix.ARPHRD_ETHER, noAux, Whole, 65507},

		{"another VLAN's", plain, unix.ARPHRD_ETHER, Aux{Network: etherOffset, VLAN: 7}, NotOurs, 0},
		{"another port", put(plain, udpAt+2, 5001), unix.ARPHRD_ETHER, noAux, NotOurs, 0},
		{"another group", put(plain, ipAt+18, 0x0102), unix.ARPHRD_ETHER, noAux, NotOurs, 0},
		{"another protocol", put(plain, ipAt+8, 7<<8|unix.IPPROTO_TCP), unix.ARPHRD_ETHER, noAux, NotOurs, 0},
		{"IPv6", change(plain, virtioHeader+12), unix.ARPHRD_ETHER, noAux, NotOurs, 0},

		{"nothing", nil, unix.ARPHRD_ETHER, noAux, BadHeader, 0},
		{"no frame", plain[:virtioHeader], unix.ARPHRD_ETHER, noAux, NotOurs, 0},
		{"no IP", plain[:ipAt], unix.ARPHRD_ETHER, noAux, BadHeader, 0},
		{"IP behind the end", plain, unix.ARPHRD_ETHER, Aux{Network: 4000}, NotOurs, 0},
		{"IP header checksum", change(plain, ipAt+8), unix.ARPHRD_ETHER, noAux, BadHeader, 0},
		{"IP version", fix(change(plain, ipAt)), unix.ARPHRD_ETHER, noAux, BadHeader, 0},
		{"IP header of 16 bytes", put(plain, ipAt, 0x44b9), unix.ARPHRD_ETHER, noAux, BadHeader, 0},
		{"cut short", long[:len(long)-1], unix.ARPHRD_ETHER, noAux, BadHeader, 0},
		{"no room for UDP", put(plain, ipAt+2, ipHeader+7), unix.ARPHRD_ETHER, noAux, BadHeader, 0},
		{"UDP length below its header", put(plain, udpAt+4, 7), unix.ARPHRD_ETHER, noAux, BadHeader, 0},
		{"UDP length beyond IP", put(plain, udpAt+4, 26), unix.ARPHRD_ETHER, noAux, BadHeader, 0},

		{"checksum wrong", wrong, unix.ARPHRD_ETHER, noAux, BadChecksum, 0},
		{"checksum wrong in itself", change(plain, udpAt+6), unix.ARPHRD_ETHER, noAux, BadChecksum, 0},
		{"absent", absent, unix.ARPHRD_ETHER, noAux, Whole, 17},
		{"not filled in, says the kernel", wrong, unix.ARPHRD_ETHER, Aux{Network: -1, ChecksumNotReady: true}, Whole, 17},
		{"not filled in, says virtio", virtio(wrong, virtioNeedsChecksum, 0, 0), unix.ARPHRD_ETHER, noAux, Whole, 17},
		{"verified before, says the kernel", wrong, unix.ARPHRD_ETHER, Aux{Network: -1, ChecksumValid: true}, Whole, 17},
		{"verified before, says virtio", virtio(wrong, virtioDataValid, 0, 0), unix.ARPHRD_ETHER, noAux, Whole, 17},

		{"a run of segments", virtio(long, virtioNeedsChecksum, virtioGSOUDPL4, 1000), unix.ARPHRD_ETHER, noAux, Whole, 1000},
		{"a run of one", virtio(plain, virtioNeedsChecksum, virtioGSOUDPL4, 1000), unix.ARPHRD_ETHER, noAux, Whole, 17},
		{"a run that is corrupted", virtio(change(long, udpAt+9), 0, virtioGSOUDPL4, 1000), unix.ARPHRD_ETHER, noAux, BadChecksum, 0},
		{"to be fragmented", virtio(long, virtioNeedsChecksum, virtioGSOUDP, 1480), unix.ARPHRD_ETHER, noAux, Whole, 3001},
		{"a run of size 0", virtio(long, 0, virtioGSOUDPL4, 0), unix.ARPHRD_ETHER, noAux, UnknownSegment, 0},
		{"a run of another kind", virtio(long, 0, 1, 1000), unix.ARPHRD_ETHER, noAux, UnknownSegment, 0},

		{"first fragment", put(plain, ipAt+6, 1<<13), unix.ARPHRD_ETHER, noAux, Fragment, 0},
		{"first fragment to another port", put(put(plain, ipAt+6, 1<<13), udpAt+2, 5001), unix.ARPHRD_ETHER, noAux, Fragment, 0},
		{"later fragment", put(plain, ipAt+6, 185), unix.ARPHRD_ETHER, noAux, Fragment, 0},
		{"DF is no fragment", put(plain, ipAt+6, 1<<14), unix.ARPHRD_ETHER, noAux, Whole, 17},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, v := Parse(c.b, c.link, c.aux, theWant)
			if v != c.want {
				t.Fatalf("verdict %d, want %d: %+v", v, c.want, d)
			}
			if v == Whole && (d.Segment != c.seg || d.Source != theSource || d.Port != 5000 || d.TTL != 7 || d.TOS != 0xb9) {
				t.Errorf("%+v", d)
			}
			if v == Whole && c.seg == len(pay) && c.name != "not filled in, says the kernel" && d.Payload[1:] != nil && !bytes.Equal(d.Payload[1:], pay[1:]) {
				t.Errorf("payload %q", d.Payload)
			}
		})
	}
}

// Without a port every port is taken, and told.
func TestParseAnyPort(t *testing.T) {
	plain := made{payload: []byte("x")}.frame(t)
	for _, b := range [][]byte{plain, put(plain, ipAt+6, 1<<13)} {
		if d, v := Parse(b, unix.ARPHRD_ETHER, noAux, Want{Group: theGroup}); v > Fragment || d.Port != 5000 {
			t.Errorf("%+v %v", d, v)
		}
	}
}

func TestParseAux(t *testing.T) {
	msg := func(level, kind uint32, data ...byte) []byte {
		b := binary.NativeEndian.AppendUint64(nil, uint64(cmsgHeader+len(data)))
		b = binary.NativeEndian.AppendUint32(b, level)
		b = append(binary.NativeEndian.AppendUint32(b, kind), data...)
		return append(b, make([]byte, (8-len(b)%8)%8)...)
	}
	aux := make([]byte, auxdata)
	binary.NativeEndian.PutUint32(aux, statusVLANValid|statusChecksumValid|statusChecksumNotReady|1)
	binary.NativeEndian.PutUint16(aux[14:], 14)
	binary.NativeEndian.PutUint16(aux[16:], 0xe005)
	stamp := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, 2), 5)
	all := Aux{Network: 14, VLAN: 5, ChecksumValid: true, ChecksumNotReady: true, Stamp: 2e9 + 5}
	whole := slices.Concat(msg(unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, stamp...), msg(unix.SOL_PACKET, unix.PACKET_AUXDATA, aux...))
	if len(whole) != ControlSpace {
		t.Errorf("%d bytes, ControlSpace is %d", len(whole), ControlSpace)
	}
	for _, c := range []struct {
		name string
		in   []byte
		want Aux
	}{
		{"nothing", nil, noAux},
		{"both", whole, all},
		{"an unknown one before", append(msg(1, 2, 3), whole...), all},
		{"cut short", whole[:40], Aux{Network: -1, Stamp: 2e9 + 5}},
		{"too short for its kind", msg(unix.SOL_PACKET, unix.PACKET_AUXDATA, aux[:19]...), noAux},
	} {
		if diff := cmp.Diff(c.want, ParseAux(c.in)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// The sum over eight bytes at a time is that over two, whatever the length and place.
func TestSum(t *testing.T) {
	b := make([]byte, 300)
	for i := range b {
		b[i] = byte(i*i*31 + 255*(i&1))
	}
	for from := range 9 {
		for to := from; to <= len(b); to++ {
			want := uint32(0)
			for i := from; i < to; i += 2 {
				want += uint32(b[i]) << 8
				if i+1 < to {
					want += uint32(b[i+1])
				}
			}
			for want > 0xffff {
				want = want>>16 + want&0xffff
			}
			if got := fold(sum(0, b[from:to])); uint32(got) != want {
				t.Fatalf("%d..%d: %#x, want %#x", from, to, got, want)
			}
		}
	}
	if fold(^uint64(0)) != 0xffff {
		t.Error("the largest sum")
	}
}

// What is taken is what another decoder sees.
func FuzzParseFrame(f *testing.F) {
	plain := made{payload: []byte("seventeen bytes..")}.frame(f)
	for _, b := range [][]byte{
		plain, plain[:30], put(plain, udpAt+6, 0), put(plain, ipAt+6, 1<<13), put(plain, ipAt+6, 185),
		made{vlan: 5, options: true, after: []byte("padding")}.frame(f),
		virtio(made{payload: make([]byte, 3001)}.frame(f), 1, virtioGSOUDPL4, 1000),
		made{raw: true, payload: []byte("x")}.frame(f),
	} {
		f.Add(b, uint16(unix.ARPHRD_ETHER), -1)
		f.Add(b, uint16(unix.ARPHRD_NONE), 0)
	}
	f.Fuzz(func(t *testing.T, b []byte, link uint16, offset int) {
		d, v := Parse(b, link, Aux{Network: offset}, theWant)
		if v > Fragment {
			return
		}
		if d.Segment > len(d.Payload) || d.Offset+len(d.Data) > 1<<16+1<<16 {
			t.Fatalf("%+v", d)
		}
		frame := b[virtioHeader:]
		first := layers.LayerTypeEthernet
		if offset > 0 || link != unix.ARPHRD_ETHER && link != unix.ARPHRD_LOOPBACK {
			frame, first = frame[max(offset, 0):], layers.LayerTypeIPv4
		}
		p := gopacket.NewPacket(frame, first, gopacket.DecodeOptions{NoCopy: true})
		ip, _ := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		if ip == nil {
			t.Fatalf("gopacket sees no IPv4: %v", p)
		}
		if ip.TTL != d.TTL || ip.TOS != d.TOS || binary.BigEndian.Uint32(ip.SrcIP.To4()) != d.Source {
			t.Errorf("%+v, gopacket: %+v", d, ip)
		}
		if v == Fragment {
			if !bytes.Equal(ip.Payload, d.Data) || int(ip.FragOffset)*8 != d.Offset || ip.Flags&layers.IPv4MoreFragments != 0 != d.More || ip.Id != d.ID {
				t.Errorf("%+v, gopacket: %+v", d, ip)
			}
			return
		}
		udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if udp == nil || !bytes.Equal(udp.Payload, d.Payload) || uint16(udp.DstPort) != d.Port {
			t.Errorf("%+v, gopacket: %+v", d, udp)
		}
	})
}
