// SPDX-License-Identifier: Apache-2.0

package mrib

import (
	"fmt"
	"testing"
)

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }

// P3.2, P2.5: every row of the table.
func TestP3_2_HeadEndReplication(t *testing.T) {
	p2p := func(f HERFacts) HERFacts { f.PointPoint = true; return f }
	auto := func(b *bool, m HERMode) ProtocolHER { return ProtocolHER{Auto: b, Mode: m} }
	all := []Origin{OriginStatic, OriginPIM, OriginIGMP, OriginOther}
	type active map[Origin]bool
	same := func(b bool) active {
		a := active{}
		for _, o := range all {
			a[o] = b
		}
		return a
	}
	for _, tt := range []struct {
		name  string
		facts HERFacts
		own   HERMode // of the static output
		want  active
	}{
		{"nothing is set", p2p(HERFacts{}), HERInherit, same(false)},
		{"global, point-to-point", p2p(HERFacts{Auto: true}), HERInherit, same(true)},
		{"global, point-to-point with IFF_MULTICAST", p2p(HERFacts{Auto: true, Multicast: true}), HERInherit, same(false)},
		{"global, not point-to-point", HERFacts{Auto: true}, HERInherit, same(false)},
		{"global, never", p2p(HERFacts{Auto: true, Mode: HERNever}), HERInherit, same(false)},
		{"global, always", p2p(HERFacts{Auto: true, Mode: HERAlways, Multicast: true}), HERInherit, same(true)},
		{"global, always, not point-to-point", HERFacts{Auto: true, Mode: HERAlways}, HERInherit, same(false)},
		{"her-mode alone", p2p(HERFacts{Mode: HERAlways}), HERInherit, same(false)},
		{"her-mode of protocols alone", p2p(HERFacts{PIM: auto(nil, HERAlways), IGMP: auto(nil, HERAlways)}), HERInherit, same(false)},

		{"PIM alone, on", HERFacts{PIM: auto(yes(), HERInherit)}, HERInherit, same(true)},
		{"PIM alone, on, IFF_MULTICAST", HERFacts{PIM: auto(yes(), HERInherit), Multicast: true}, HERInherit, same(false)},
		{"PIM alone, on, always, IFF_MULTICAST", HERFacts{PIM: auto(yes(), HERAlways), Multicast: true}, HERInherit, same(true)},
		{"PIM alone, on, never", HERFacts{PIM: auto(yes(), HERNever)}, HERInherit, same(false)},
		{"PIM alone, off, wins over global", p2p(HERFacts{Auto: true, PIM: auto(no(), HERInherit)}), HERInherit, same(false)},
		{"PIM alone, on, under the global never", HERFacts{Mode: HERNever, PIM: auto(yes(), HERInherit)}, HERInherit, same(false)},
		{"PIM alone, on and auto, wins over the global never", HERFacts{Mode: HERNever, PIM: auto(yes(), HERAuto)}, HERInherit, same(true)},
		{"IGMP alone, on", HERFacts{IGMP: auto(yes(), HERInherit)}, HERInherit, same(true)},
		{"IGMP alone, off, wins over global", p2p(HERFacts{Auto: true, IGMP: auto(no(), HERInherit)}), HERInherit, same(false)},
		{"IGMP alone, on, always, IFF_MULTICAST", HERFacts{IGMP: auto(yes(), HERAlways), Multicast: true}, HERInherit, same(true)},
		{"both on", HERFacts{PIM: auto(yes(), HERInherit), IGMP: auto(yes(), HERInherit)}, HERInherit, same(true)},
		{"both off, wins over global", p2p(HERFacts{Auto: true, PIM: auto(no(), HERInherit), IGMP: auto(no(), HERInherit)}), HERInherit, same(false)},
		{
			"PIM on, IGMP off, global off", p2p(HERFacts{PIM: auto(yes(), HERInherit), IGMP: auto(no(), HERInherit)}), HERInherit,
			active{OriginPIM: true, OriginIGMP: false, OriginStatic: false, OriginOther: false},
		},
		{
			"PIM off, IGMP on, global on", p2p(HERFacts{Auto: true, PIM: auto(no(), HERInherit), IGMP: auto(yes(), HERInherit)}), HERInherit,
			active{OriginPIM: false, OriginIGMP: true, OriginStatic: true, OriginOther: true},
		},
		{
			"differing, and the mode of one is not the others'", p2p(HERFacts{Auto: true, Multicast: true, PIM: auto(yes(), HERAlways), IGMP: auto(no(), HERInherit)}), HERInherit,
			active{OriginPIM: true, OriginIGMP: false, OriginStatic: false, OriginOther: false},
		},
		{
			"both on, always and never, global auto",
			HERFacts{PIM: auto(yes(), HERAlways), IGMP: auto(yes(), HERNever)},
			HERInherit,
			active{OriginPIM: true, OriginIGMP: false, OriginStatic: true, OriginOther: true},
		},
		{"the global setting is on, one protocol says never", p2p(HERFacts{Auto: true, IGMP: auto(nil, HERNever)}), HERInherit, same(false)},

		{"own never", p2p(HERFacts{Auto: true}), HERNever, active{OriginStatic: false, OriginPIM: true, OriginIGMP: true, OriginOther: true}},
		{"own auto", HERFacts{}, HERAuto, active{OriginStatic: true}},
		{"own auto, IFF_MULTICAST", HERFacts{Multicast: true}, HERAuto, same(false)},
		{"own auto under the global never", HERFacts{Mode: HERNever}, HERAuto, active{OriginStatic: true}},
		{"own auto where the interface is always", p2p(HERFacts{Auto: true, Mode: HERAlways, Multicast: true}), HERAuto, active{OriginPIM: true, OriginIGMP: true, OriginOther: true}},
		{"own always", HERFacts{Multicast: true}, HERAlways, active{OriginStatic: true}},
		{"own always where PIM says off", HERFacts{Multicast: true, PIM: auto(no(), HERInherit)}, HERAlways, active{OriginStatic: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, o := range all {
				own := HERInherit
				if o == OriginStatic {
					own = tt.own
				}
				if got := tt.facts.Active(o, own); got != tt.want[o] {
					t.Errorf("origin %d: active %v, want %v", o, got, tt.want[o])
				}
			}
		})
	}
}

// P3.2: every mixture, against the requirement's sentences one by one.
func TestP3_2_EveryMixture(t *testing.T) {
	modes := []HERMode{HERInherit, HERAuto, HERAlways, HERNever}
	autos := []*bool{nil, yes(), no()}
	protocols := func(yield func(ProtocolHER) bool) {
		for _, a := range autos {
			for _, m := range modes {
				if !yield(ProtocolHER{a, m}) {
					return
				}
			}
		}
	}
	n := 0
	for flags := range 8 {
		for _, mode := range modes {
			for pim := range protocols {
				for igmp := range protocols {
					f := HERFacts{PointPoint: flags&1 != 0, Multicast: flags&2 != 0, Auto: flags&4 != 0, Mode: mode, PIM: pim, IGMP: igmp}
					for o := OriginStatic; o <= OriginOther; o++ {
						for _, own := range modes {
							n++
							if got, want := f.Active(o, own), literally(f, o, own); got != want {
								t.Fatalf("%s, origin %d, own mode %d: active %v, want %v", describe(f), o, own, got, want)
							}
						}
					}
				}
			}
		}
	}
	t.Logf("%d mixtures", n)
}

func describe(f HERFacts) string {
	p := func(p ProtocolHER) string {
		if p.Auto == nil {
			return fmt.Sprintf("-/%d", p.Mode)
		}
		return fmt.Sprintf("%v/%d", *p.Auto, p.Mode)
	}
	return fmt.Sprintf("p2p %v multicast %v auto %v mode %d pim %s igmp %s", f.PointPoint, f.Multicast, f.Auto, f.Mode, p(f.PIM), p(f.IGMP))
}

// literally is P3.2 in its own words.
func literally(f HERFacts, o Origin, own HERMode) bool {
	// "HER of an interface: auto-her in PIM or IGMP there, else the global one if it is P2P, else off."
	global := f.Auto && f.PointPoint
	on, mode := global, HERInherit
	split := f.PIM.Auto != nil && f.IGMP.Auto != nil && *f.PIM.Auto != *f.IGMP.Auto
	switch {
	case split && o == OriginPIM: // "set differently in both, each rules its own"
		on, mode = *f.PIM.Auto, f.PIM.Mode
	case split && o == OriginIGMP:
		on, mode = *f.IGMP.Auto, f.IGMP.Mode
	case split: // "and other origins follow the global"
	default: // "Set in one protocol only, it holds for all claims on the interface"
		if f.PIM.Auto != nil {
			on = *f.PIM.Auto
		}
		if f.IGMP.Auto != nil {
			on = *f.IGMP.Auto
		}
		a, b := f.PIM.Mode, f.IGMP.Mode
		switch {
		case a == b:
			mode = a
		case a == HERInherit:
			mode = b
		case b == HERInherit:
			mode = a
		case o == OriginPIM:
			mode = a
		case o == OriginIGMP:
			mode = b
		}
	}
	if mode == HERInherit {
		mode = f.Mode
	}
	if mode == HERInherit {
		mode = HERAuto
	}
	// "A static output's own her-mode: never = off, else on with that mode"
	if o == OriginStatic && own != HERInherit {
		on, mode = own != HERNever, own
	}
	// "Off, or mode never: multicast. On and auto: HER iff IFF_MULTICAST is clear. On and always: HER."
	return on && (mode == HERAlways || mode == HERAuto && !f.Multicast)
}
