// SPDX-License-Identifier: Apache-2.0

package afpacket

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// udp is an IP payload: a UDP datagram with its checksum.
func udp(port uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, 40000)
	b = binary.BigEndian.AppendUint16(b, port)
	b = binary.BigEndian.AppendUint16(b, uint16(udpHeader+len(payload)))
	b = append(append(b, 0, 0), payload...)
	c := ^fold(sum(uint64(theSource)+theGroup+17+uint64(len(b)), b))
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(b[6:], c)
	return b
}

// cut makes fragments of size bytes.
func cut(id uint16, b []byte, size int) (fs []Datagram) {
	for off := 0; off < len(b); off += size {
		part := b[off:min(len(b), off+size)]
		f := Datagram{Source: theSource, TTL: 7, TOS: 1, ID: id, Offset: off, More: off+len(part) < len(b), Data: part}
		if off == 0 {
			f.Port = binary.BigEndian.Uint16(b[2:])
		} else {
			f.TTL = 6
		}
		fs = append(fs, f)
	}
	return fs
}

func numbers(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

// D5: fragments in whatever order, doubled or not, make the datagram, once; with the first one's TTL and TOS.
func TestReassemble(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	r := NewReassembler(make([]byte, 4*SlotSize))
	for round := range 200 {
		payload := numbers([]int{9, 3001, 8900, 65507}[round%4])
		fs := cut(uint16(round), udp(5000, payload), []int{8, 1480, 1480, 1480}[round%4])
		for range rng.IntN(3) {
			fs = append(fs, fs[rng.IntN(len(fs))])
		}
		if round%3 > 0 {
			rng.Shuffle(len(fs), func(i, j int) { fs[i], fs[j] = fs[j], fs[i] })
		}
		whole := 0
		for _, f := range fs {
			d, slot, v := r.Add(1, f, theWant, int64(round))
			switch v {
			case Whole:
				if whole++; !bytes.Equal(d.Payload, payload) || d.Segment != len(payload) || d.TTL != 7 || d.TOS != 1 || d.Port != 5000 || d.Source != theSource {
					t.Fatalf("round %d: %d bytes, %+v", round, len(d.Payload), Datagram{Port: d.Port, TTL: d.TTL, TOS: d.TOS})
				}
				r.Release(slot)
			case Fragment:
			default:
				t.Fatalf("round %d: verdict %v", round, v)
			}
		}
		if whole != 1 {
			t.Fatalf("round %d: %d datagrams", round, whole)
		}
	}
}

func TestReassembleRefuses(t *testing.T) {
	good := cut(1, udp(5000, numbers(3001)), 1480)
	with := func(i int, f func(*Datagram)) []Datagram {
		fs := slices.Clone(good)
		fs[i].Data = slices.Clone(fs[i].Data)
		f(&fs[i])
		return fs
	}
	for _, c := range []struct {
		name string
		in   []Datagram
		want Verdict // of one of them; Fragment: of all
	}{
		{"a byte changed", with(1, func(f *Datagram) { f.Data[3]++ }), BadChecksum},
		{"one is missing", good[:2], Fragment},
		{"an overlap", slices.Insert(slices.Clone(good), 1, Datagram{Source: theSource, ID: 1, Offset: 1472, More: true, Data: make([]byte, 16)}), BadHeader},
		{"two ends", append(slices.Clone(good[1:]), Datagram{Source: theSource, ID: 1, Offset: 2960, Data: make([]byte, 8)}), BadHeader},
		{"something behind the end", append(slices.Clone(good[2:]), Datagram{Source: theSource, ID: 1, Offset: 4000, More: true, Data: make([]byte, 8)}), BadHeader},
		{"the end before something", []Datagram{good[1], {Source: theSource, ID: 1, Offset: 8, Data: make([]byte, 8)}}, BadHeader},
		{"not in units of eight", []Datagram{{ID: 1, More: true, Data: make([]byte, 15)}}, BadHeader},
		{"longer than a packet", []Datagram{{ID: 1, Offset: 65512, Data: make([]byte, 8)}}, BadHeader},
		{"nothing in it", []Datagram{{ID: 1, Offset: 8}}, BadHeader},
		{"too short for UDP", []Datagram{{ID: 1, Port: 5000, Data: make([]byte, 7)}}, BadHeader},
		{"UDP length beyond its end", with(0, func(f *Datagram) { f.Data[4] = 0xff }), BadHeader},
		{"to another port", cut(1, udp(5001, numbers(3001)), 1480), NotOurs},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReassembler(make([]byte, 2*SlotSize))
			worst := Fragment
			for _, f := range c.in {
				_, _, v := r.Add(1, f, theWant, 0)
				if v == Whole {
					t.Error("taken")
				}
				worst = max(worst, v)
			}
			if worst != c.want {
				t.Errorf("verdict %v, want %v", worst, c.want)
			}
		})
	}
}

// Q1: it holds what it was made for. What is lent stays; datagrams that nobody may want go first, then the oldest.
func TestReassembleIsBounded(t *testing.T) {
	r := NewReassembler(make([]byte, 3*SlotSize))
	payload := numbers(3001)
	datagram := func(id uint16) []Datagram { return cut(id, udp(5000, payload), 1480) }
	add := func(fs ...Datagram) (d Datagram, slot int, v Verdict) {
		for _, f := range fs {
			d, slot, v = r.Add(1, f, theWant, 0)
		}
		return d, slot, v
	}
	lent, slot, v := add(datagram(1)...)
	if v != Whole {
		t.Fatal(v)
	}
	add(datagram(2)[0], datagram(3)[0])
	if n := r.filling(); n != 2 {
		t.Errorf("%d held", n)
	}
	add(datagram(4)[1]) // in place of 2
	add(datagram(5)[1]) // in place of 4, whose port is not known
	if _, _, v := add(datagram(2)[1:]...); v != Fragment {
		t.Errorf("2: %v", v)
	}
	if _, s3, v := add(datagram(3)[1:]...); v != Whole {
		t.Errorf("3: %v", v)
	} else if _, _, v := add(datagram(6)...); v != Whole {
		t.Errorf("6: %v", v)
	} else if _, _, v := add(datagram(7)...); v != Fragment {
		t.Errorf("7, with all lent: %v", v)
	} else {
		r.Release(s3)
	}
	if !bytes.Equal(lent.Payload, payload) {
		t.Error("what was lent changed")
	}
	r.Release(slot)

	add(datagram(8)[0])
	if _, _, v := r.Add(1, datagram(8)[1], theWant, int64(reassembleTime)+1); v != Fragment || r.filling() != 0 {
		t.Errorf("after its time: %v, %d held", v, r.filling())
	}
	for _, f := range datagram(9) { // two owners have two copies
		r.Add(1, f, theWant, 0)
		if _, s, v := r.Add(2, f, theWant, 0); v == Whole {
			r.Release(s)
		} else if f.Offset == 2960 {
			t.Errorf("the other's copy: %v", v)
		}
	}
}

// A sender that is at far newer datagrams ends what it left behind, but not what is young: that may be another socket's.
func TestReassembleWhatIsLeftBehind(t *testing.T) {
	r := NewReassembler(make([]byte, 4*SlotSize))
	first := func(id uint16) Datagram { return cut(id, udp(5000, make([]byte, 4000)), 1480)[0] }
	for _, id := range []uint16{10, 10 + movedOn, 11 + movedOn} {
		r.Add(1, first(id), theWant, 0)
	}
	if n := r.filling(); n != 3 {
		t.Errorf("%d held, want 3", n)
	}
	r.Add(1, first(12+movedOn), theWant, int64(settled)+1)
	if n := r.filling(); n != 3 {
		t.Errorf("%d held, want 3 without the first", n)
	}
	for _, s := range r.slots {
		if s.state == slotFilling && s.key.id == 10 {
			t.Error("the first is held")
		}
	}
}

// Sockets of one sender may count their IDs each by itself (ip_select_ident_segs, Linux 5.17): a datagram to another port, or one
// that nobody wants, leaves nothing to which the next one with its ID would be joined.
func TestReassembleSameIDOfAnotherPort(t *testing.T) {
	ours := udp(5000, numbers(3001))
	for _, n := range []int{1200, 2900, 3001, 4000} { // bytes to the other port
		for _, last := range []bool{false, true} { // whether its first fragment comes last
			for _, ignore := range []bool{false, true} {
				r := NewReassembler(make([]byte, 2*SlotSize))
				theirs, port := cut(1, udp(5001, make([]byte, n)), 800), theWant.Port
				if ignore {
					port = 0
				}
				if last {
					theirs = append(theirs[1:], theirs[0])
				}
				for _, f := range theirs {
					if want := (Want{Group: theGroup, Port: port}); ignore && f.Offset == 0 {
						r.Ignore(1, f, want, 0)
					} else if _, _, v := r.Add(1, f, want, 0); v == Whole {
						t.Errorf("%d bytes, ignored %v: given out", n, ignore)
					}
				}
				for i, f := range cut(1, ours, 1480) {
					d, _, v := r.Add(1, f, Want{Group: theGroup, Port: port}, 0)
					if (v == Whole) != (i == 2) || (i == 2 && !bytes.Equal(d.Payload, ours[udpHeader:])) {
						t.Errorf("%d bytes before, their first one last %v, ignored %v: fragment %d: verdict %v", n, last, ignore, i, v)
					}
				}
			}
		}
	}
}

// filling is how many datagrams wait for their rest, the first fragment of which is there.
func (r *Reassembler) filling() (n int) {
	for i := range r.slots {
		if s := &r.slots[i]; s.state == slotFilling && s.first {
			n++
		}
	}
	return n
}

// Whatever comes, what is whole is right by its own checksum and lies in its slot.
func FuzzReassemble(f *testing.F) {
	f.Add([]byte{0, 1, 0, 1, 1, 1, 2, 0, 2}, []byte("payload"))
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, make([]byte, 100))
	f.Fuzz(func(t *testing.T, script, payload []byte) {
		r := NewReassembler(make([]byte, 2*SlotSize))
		b := udp(5000, payload[:min(len(payload), 65507)])
		for ; len(script) >= 3; script = script[3:] {
			off := int(script[0]) * 8
			if off >= len(b) {
				off = 0
			}
			end := min(len(b), off+int(script[1])*8)
			d, slot, v := r.Add(1, Datagram{
				Source: theSource, Port: 5000 + uint16(script[2]>>7), ID: uint16(script[2] & 3), Offset: off, More: script[2]&4 == 0 && end < len(b), Data: b[off:end],
			}, theWant, int64(script[2])<<24)
			if v != Whole {
				continue
			}
			if !bytes.Equal(d.Payload, b[udpHeader:udpHeader+len(d.Payload)]) {
				t.Errorf("%q of %q", d.Payload, b)
			}
			r.Release(slot)
		}
	})
}
