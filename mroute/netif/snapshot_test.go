// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"mcr/dataplane/plan"
)

// A field that equal does not look at is a change that nobody hears of.
func TestEqualNoticesEveryField(t *testing.T) {
	for i := range reflect.TypeFor[Link]().NumField() {
		f := reflect.TypeFor[Link]().Field(i)
		var l Link
		v := reflect.ValueOf(&l).Elem().Field(i)
		switch {
		case f.Type == reflect.TypeFor[time.Time]():
			continue // of the last change: no change itself
		case f.Type == reflect.TypeFor[netip.Addr]():
			v.Set(reflect.ValueOf(ip("192.0.2.1")))
		case f.Type.Kind() == reflect.Bool:
			v.SetBool(true)
		case f.Type.Kind() == reflect.String:
			v.SetString("x")
		case f.Type.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(f.Type, 1, 1))
		case v.CanInt():
			v.SetInt(1)
		default:
			t.Fatalf("%s: how does a %v change?", f.Name, f.Type)
		}
		if (&Link{}).equal(&l) {
			t.Errorf("%s is not looked at", f.Name)
		}
	}
	a := Link{Peers: []Peer{{Key: "a", AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}}}}
	b := Link{Peers: []Peer{{Key: "a", AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")}}}}
	if a.equal(&b) {
		t.Error("what a peer is allowed is not looked at")
	}
	if a.equal(nil) || (*Link)(nil).equal(&a) || !(*Link)(nil).equal(nil) {
		t.Error("a link equals none")
	}
}

func TestSnapshotWith(t *testing.T) {
	type links = map[plan.IfIndex]*Link
	t0, t1 := time.Unix(1, 0), time.Unix(2, 0)
	a := on(Link{Index: 1, Name: "a", Oper: "UP", LastChange: t0}, "10.0.0.1/24")
	b := on(Link{Index: 2, Name: "b", Oper: "UP", LastChange: t0}, "10.0.0.2/24")
	br := &Link{Index: 3, Name: "br", Kind: "bridge", Oper: "UP", LastChange: t0}
	port := &Link{Index: 4, Name: "port", Oper: "UP", Master: 3, MasterName: "br", Enslaved: true, LastChange: t0}
	s := NewSnapshot(a, b, br, port)
	like := func(l *Link, change func(*Link)) *Link {
		c := *l
		c.MasterName, c.Enslaved, c.LastChange = "", false, time.Time{} // as it is read
		change(&c)
		return &c
	}
	same := func(*Link) {}
	for _, c := range []struct {
		name    string
		read    links
		changed []plan.IfIndex
		check   func(t *testing.T, is *Snapshot)
	}{
		{"nothing changed", links{1: like(a, same), 4: like(port, same)}, nil, func(t *testing.T, is *Snapshot) {
			if is != s {
				t.Error("it is another snapshot")
			}
		}},
		{"one changed", links{1: like(a, func(l *Link) { l.MTU = 9000 }), 2: like(b, same)}, []plan.IfIndex{1}, func(t *testing.T, is *Snapshot) {
			if is.Link("b") != b || is.Link("a").MTU != 9000 || is.Link("a").LastChange != t0 || is.Index(1) != is.Link("a") {
				t.Errorf("a is %+v", *is.Link("a"))
			}
		}},
		{"down", links{1: like(a, func(l *Link) { l.Oper = "DOWN" })}, []plan.IfIndex{1}, func(t *testing.T, is *Snapshot) {
			if is.Link("a").LastChange != t1 {
				t.Error("the time of the change is not noted")
			}
		}},
		{"gone", links{1: nil}, []plan.IfIndex{1}, func(t *testing.T, is *Snapshot) {
			if is.Link("a") != nil || is.Index(1) != nil || is.IsLocal(ip("10.0.0.1")) || len(is.Links()) != 3 {
				t.Error("it is still there")
			}
		}},
		{"gone before it was known", links{9: nil}, nil, func(*testing.T, *Snapshot) {}},
		{
			"names swapped",
			links{1: like(a, func(l *Link) { l.Name = "b" }), 2: like(b, func(l *Link) { l.Name = "a" })},
			[]plan.IfIndex{1, 2},
			func(t *testing.T, is *Snapshot) {
				if is.Link("a").Index != 2 || is.Link("b").Index != 1 || is.Link("a").LastChange != t1 || len(is.Links()) != 4 {
					t.Error("they are not")
				}
			},
		},
		{"made again", links{1: nil, 8: like(a, func(l *Link) { l.Index = 8 })}, []plan.IfIndex{1, 8}, func(t *testing.T, is *Snapshot) {
			if is.Link("a").Index != 8 || is.Index(1) != nil || !is.IsLocal(ip("10.0.0.1")) {
				t.Error("it is not there")
			}
		}},
		{"an address moved", links{1: like(a, func(l *Link) { l.Addrs = nil }), 2: like(b, func(l *Link) { l.Addrs = a.Addrs })}, []plan.IfIndex{1, 2}, func(t *testing.T, is *Snapshot) {
			if !is.IsLocal(ip("10.0.0.1")) || is.IsLocal(ip("10.0.0.2")) || s.IsLocal(ip("10.0.0.1")) == false {
				t.Error("own addresses are wrong")
			}
		}},
		{"the master renamed", links{3: like(br, func(l *Link) { l.Name = "br1" })}, []plan.IfIndex{3, 4}, func(t *testing.T, is *Snapshot) {
			if l := is.Link("port"); l.MasterName != "br1" || !l.Enslaved || l.LastChange != t0 {
				t.Errorf("port is %+v", *l)
			}
		}},
		{"the master gone", links{3: nil}, []plan.IfIndex{3, 4}, func(t *testing.T, is *Snapshot) {
			if l := is.Link("port"); l.MasterName != "" || l.Enslaved {
				t.Errorf("port is %+v", *l)
			}
		}},
		{"the master later than its port", links{5: {Index: 5, Name: "early", Master: 6}, 6: {Index: 6, Name: "br2", Kind: "bridge"}}, []plan.IfIndex{5, 6}, func(t *testing.T, is *Snapshot) {
			if l := is.Link("early"); l.MasterName != "br2" || !l.Enslaved {
				t.Errorf("early is %+v", *l)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			is, changed := s.with(c.read, t1)
			slices.Sort(changed)
			if !slices.Equal(changed, c.changed) {
				t.Errorf("changed: %v, want %v", changed, c.changed)
			}
			c.check(t, is)
			short, long := is.Differ(s), NewSnapshot(slices.Collect(maps.Values(is.byIndex))...).Differ(s)
			slices.Sort(short)
			slices.Sort(long)
			if !slices.Equal(short, long) {
				t.Errorf("Differ says %v, comparing says %v", short, long)
			}
		})
	}
}
