// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/protobuf/proto"
)

func TestParsePath(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want string // printed back
		pos  int    // of the fault, where want is empty
	}{
		{"/", "/", 0},
		{"", "/", 0},
		{"/mcr/forwarding", "/mcr/forwarding", 0},
		{"mcr/forwarding/", "/mcr/forwarding", 0},
		{"/a/b[k=v]/c", "/a/b[k=v]/c", 0},
		{"/a[z=1][b=2]", "/a[b=2][z=1]", 0},
		{"/a[k=eth0:239.1.1.1:5000]", "/a[k=eth0:239.1.1.1:5000]", 0},
		{`/a[k=x/y=[z\]\\]/...`, `/a[k=x/y=[z\]\\]/...`, 0},
		{"/a[k=]", "/a[k=]", 0},
		{"/a[k=*]/*", "/a[k=*]/*", 0},
		{"openconfig:/a", "openconfig:/a", 0},
		{"mcr_cli:/", "mcr_cli:/", 0},
		{"//a", "", 1},
		{"/a//b", "", 3},
		{"/a[k]", "", 3},
		{"/a[=v]", "", 3},
		{"/a[k=v", "", 6},
		{`/a[k=v\`, "", 7},
		{"/a[k=v]b", "", 7},
		{"/a[k=v][k=w]", "", 8},
		{"/a]", "", 2},
		{"/a=b", "", 2},
	} {
		t.Run(tt.in, func(t *testing.T) {
			p, err := parsePath(tt.in)
			var fault *usageError
			switch {
			case tt.want == "" && !errors.As(err, &fault):
				t.Errorf("got %v, %v; want a fault", p, err)
			case tt.want == "" && fault.pos != tt.pos:
				t.Errorf("fault at %d, want %d: %v", fault.pos, tt.pos, fault)
			case tt.want != "" && (err != nil || pathString(p) != tt.want):
				t.Errorf("got %s, %v; want %s", pathString(p), err, tt.want)
			}
		})
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/a[k=v]/b", `x:/a[k=\]][l=]/...`, "/a[", "//", `a[b=c\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePath(s)
		if err != nil {
			if err.Error() == "" {
				t.Error("no words")
			}
			return
		}
		again, err := parsePath(pathString(p))
		if err != nil || !proto.Equal(p, again) {
			t.Errorf("%q is printed as %q, which is %v, %v", s, pathString(p), again, err)
		}
	})
}

func TestStripModules(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"member_names", `{"mcr:mcr":{"x":1, "mcr-a:b" : ["c:d"]}}`, `{"mcr":{"x":1, "b" : ["c:d"]}}`},
		{"values_stay", `"mcr-types:PIM"`, `"mcr-types:PIM"`},
		{"quotes_in_strings", `{"a\"b:c":"\\"}`, `{"c":"\\"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := stripModules([]byte(tt.in))
			if err != nil || string(got) != tt.want {
				t.Errorf("got %s, %v; want %s", got, err, tt.want)
			}
		})
	}
	if _, err := stripModules([]byte(`{"a`)); err == nil {
		t.Error("broken JSON is taken")
	}
}

func FuzzStripModules(f *testing.F) {
	for _, s := range []string{`{"a:b":{"c":"d:e"}}`, `["\\\"", 1.5]`, `{"":null}`, `{"a:":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := stripModules(b)
		if err == nil && !json.Valid(got) {
			t.Errorf("%q becomes %q", b, got)
		}
	})
}

// Whatever encoding a server chooses, the value is the same JSON.
func TestValueJSON(t *testing.T) {
	str := &gpb.TypedValue{Value: &gpb.TypedValue_StringVal{StringVal: "x"}}
	for _, tt := range []struct {
		in   *gpb.TypedValue
		want string
	}{
		{str, `"x"`},
		{&gpb.TypedValue{Value: &gpb.TypedValue_UintVal{UintVal: 5}}, `5`},
		{&gpb.TypedValue{Value: &gpb.TypedValue_IntVal{IntVal: -5}}, `-5`},
		{&gpb.TypedValue{Value: &gpb.TypedValue_BoolVal{BoolVal: true}}, `true`},
		{&gpb.TypedValue{Value: &gpb.TypedValue_JsonVal{JsonVal: []byte(`{"a":1}`)}}, `{"a":1}`},
		{&gpb.TypedValue{Value: &gpb.TypedValue_LeaflistVal{LeaflistVal: &gpb.ScalarArray{Element: []*gpb.TypedValue{str, str}}}}, `["x","x"]`},
	} {
		got, err := valueJSON(tt.in)
		if err != nil || string(got) != tt.want {
			t.Errorf("%v: got %s, %v; want %s", tt.in, got, err, tt.want)
		}
	}
	if _, err := valueJSON(nil); err == nil {
		t.Error("no value is taken for one")
	}
}

func TestHumaneNumbers(t *testing.T) {
	for in, want := range map[float64]string{
		0: "0", 0.5: "0.50", 9.99: "9.99", 9.996: "10.0", 12.34: "12.3", 99.96: "100", 999: "999", 999.96: "1.00 k", 1234: "1.23 k",
		98_700_000: "98.7 M", 4.2e9: "4.20 G",
	} {
		if got := rate(in); got != want {
			t.Errorf("rate %v: got %s, want %s", in, got, want)
		}
	}
	for in, want := range map[number]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(in); got != want {
			t.Errorf("count %d: got %s, want %s", in, got, want)
		}
	}
	for in, want := range map[time.Duration]string{
		0: "just now", 5 * time.Second: "5 s ago", 3 * time.Minute: "3 min ago", 5 * time.Hour: "5 h ago", 100 * time.Hour: "4 days ago",
	} {
		if got := ago(snapshotTime, number(snapshotTime.Add(-in).UnixNano())); got != want {
			t.Errorf("%v ago: got %s, want %s", in, got, want)
		}
	}
}

// A form that cannot be written back would not be the same form (P1.5).
func TestCaretStandsUnderTheFault(t *testing.T) {
	_, err := parseOutputs("239.1.1.1:5000:eth1,239.1.1.1:5000:gre0@10.2.0.5@1")
	if err == nil {
		t.Fatal("two @ are taken")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 3 || lines[2] != strings.Repeat(" ", 2+48)+"^" {
		t.Errorf("got\n%v", err)
	}
	if diff := cmp.Diff("  239.1.1.1:5000:eth1,239.1.1.1:5000:gre0@10.2.0.5@1", lines[1]); diff != "" {
		t.Error(diff)
	}
}
