// SPDX-License-Identifier: Apache-2.0

package json5

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// plain turns a Value into what encoding/json would make of it, with numbers as json.Number.
func plain(v *Value) any {
	switch v.Kind {
	case Null:
		return nil
	case Bool:
		return v.Text == "true"
	case Number:
		return json.Number(v.Text)
	case String:
		return v.Text
	case Array:
		a := []any{}
		for _, e := range v.Elems {
			a = append(a, plain(e))
		}
		return a
	}
	m := map[string]any{}
	for _, e := range v.Members {
		m[e.Name] = plain(e.Value)
	}
	return m
}

func decode(t testing.TB, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"json", `{"a":[1,-2.5e3,true,false,null,"x"]}`, `{"a":[1,-2.5e3,true,false,null,"x"]}`},
		{"bare_names", "{a:1,$b_2:2,ünder:3,\\u0061b:4}", `{"a":1,"$b_2":2,"ünder":3,"ab":4}`},
		{"single_quotes", `{'a':'it"s'}`, `{"a":"it\"s"}`},
		{"many_comments_with_old_ends", strings.Repeat("//\r", 1<<20) + "1", `1`}, // once quadratic
		{"comments", "// x\n{/* y\n */a:1, // z\n}//", `{"a":1}`},
		{"commas_at_end", `{a:[1,2,],}`, `{"a":[1,2]}`},
		{"numbers", `[+1,.5,5.,0x1F,-0xa,1e+2,0]`, `[1,0.5,5,31,-10,1e+2,0]`},
		{"large_numbers_are_not_rounded", `[18446744073709551615,0xFFFFFFFFFFFFFFFF]`, `[18446744073709551615,18446744073709551615]`},
		{"escapes", `["\x41\u0042\
c\v\0\q\ud83d\ude00\n"]`, `["ABc\u000b\u0000q😀\n"]`},
		{"white_space", "\ufeff\u00a0[\t1\v,\f2\u2028]\r\n", `[1,2]`},
		{"empty", `[{},[]]`, `[{},[]]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := Parse([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := plain(v), decode(t, tt.want); !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestParseFaults(t *testing.T) {
	for _, tt := range []struct {
		name, in     string
		line, column int
		reason       string
	}{
		{"nothing", "", 1, 1, "text ends"},
		{"comment_only", "// x", 1, 5, "text ends"},
		{"twice", "{a:1,\n b:2,\n 'a':3}", 3, 2, `"a" is there twice`},
		{"behind", "{} {}", 1, 4, "text behind"},
		{"no_quotes", "{a:\n  eth0}", 2, 3, `"eth" is not a value`},
		{"no_comma", "[1\n2]", 2, 1, "',' or ']'"},
		{"no_colon", "{a 1}", 1, 4, "':'"},
		{"two_commas", "[1,,2]", 1, 4, "a value"},
		{"comma_alone", "{,}", 1, 2, "a name"},
		{"not_closed", "{a:[1", 1, 6, "text ends"},
		{"string_over_lines", "['a\nb']", 1, 2, "does not end"},
		{"string_not_closed", "['a", 1, 2, "does not end"},
		{"comment_not_closed", "[/* ", 1, 2, "does not end"},
		{"leading_zero", "[01]", 1, 2, "not a number"},
		{"separator", "[1_000]", 1, 2, "not a number"},
		{"bigint", "[1n]", 1, 2, "not a number"},
		{"binary", "[0b1]", 1, 2, "not a number"},
		{"point_alone", "[.]", 1, 2, "not a number"},
		{"exponent_empty", "[1e]", 1, 2, "not a number"},
		{"octal_escape", `['\07']`, 1, 3, "octal"},
		{"half_surrogate", `['\ud83d']`, 1, 3, "surrogate"},
		{"bad_hex", `['\xg0']`, 1, 5, "hexadecimal"},
		{"regexp", "[/a/]", 1, 2, "'/'"},
		{"not_utf8", "['\xff']", 1, 3, "UTF-8"},
		{"deep", strings.Repeat("[", MaxDepth+2), 1, MaxDepth + 2, "nested deeper"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.in))
			e, ok := errors.AsType[*SyntaxError](err)
			if !ok {
				t.Fatalf("got %v, want a *SyntaxError", err)
			}
			line, column := Position([]byte(tt.in), e.Pos)
			if line != tt.line || column != tt.column || !strings.Contains(e.Reason, tt.reason) {
				t.Errorf("got %d:%d %q, want %d:%d %q", line, column, e.Reason, tt.line, tt.column, tt.reason)
			}
		})
	}
}

// G47: what is not JSON does not pass for JSON.
func TestParseJSONIsStrict(t *testing.T) {
	for _, s := range []string{`{a:1}`, `{'a':1}`, `[1,]`, `[1] // x`, `[0x1]`, `[+1]`, `[.5]`, `[NaN]`, "[\"\t\"]", `{} {}`, ``} {
		if v, err := ParseJSON([]byte(s)); err == nil {
			t.Errorf("%q was taken: %v", s, plain(v))
		}
	}
	if _, err := ParseJSON([]byte(` {"a": [1, "\u00e4"]} `)); err != nil {
		t.Error(err)
	}
}

func TestDepthIsAllowed(t *testing.T) {
	s := strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)
	if _, err := Parse([]byte(s)); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"{a:1,'b':[0x1f,.5,+1,Infinity],/*c*/}", `{"a":"\u00e4\ud83d\ude00"}`, "// x", "[[[", `['\`, "{a:{a:{a:", "[-", "\ufeff1",
		`{"mcr:mcr":{"forwarding":{"rules":{"rule":[{"name":"r1"}]}}}}`, "/", "[1e5]", "\\u0061:",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := Parse(text)
		if err != nil {
			e, ok := errors.AsType[*SyntaxError](err)
			if !ok || e.Pos < 0 || e.Pos > len(text) {
				t.Fatalf("bad error %#v", err)
			}
		}
		if !json.Valid(text) {
			return
		}
		if err != nil { // all JSON is JSON5, less what this package refuses on purpose
			if r := err.Error(); strings.Contains(r, "twice") || strings.Contains(r, "UTF-8") ||
				strings.Contains(r, "surrogate") || strings.Contains(r, "nested") {
				return
			}
			t.Fatalf("%q: %v", text, err)
		}
		var b bytes.Buffer
		if json.Compact(&b, text); !reflect.DeepEqual(plain(v), decode(t, b.String())) {
			t.Fatalf("%q: got %v", text, plain(v))
		}
	})
}
