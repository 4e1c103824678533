// SPDX-License-Identifier: Apache-2.0

package json5

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Parse reads a JSON5 text. The error is a *SyntaxError.
func Parse(text []byte) (*Value, error) {
	p := parser{text: text}
	v, err := p.document()
	if err != nil {
		return nil, err
	}
	return v, nil
}

// ParseJSON reads a JSON text. The error is a *SyntaxError.
func ParseJSON(text []byte) (*Value, error) {
	v, err := Parse(text)
	if err != nil {
		return nil, err
	}
	if json.Valid(text) {
		return v, nil
	}
	// JSON5 and not JSON: let the standard library say where.
	var any json.RawMessage
	reason, pos := "not valid JSON", 0
	if e, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(text, &any)); ok {
		reason, pos = e.Error(), int(e.Offset)-1
	}
	return nil, &SyntaxError{Pos: max(pos, 0), Reason: reason}
}

type parser struct {
	text []byte
	pos  int
}

func (p *parser) fail(pos int, format string, args ...any) *SyntaxError {
	return &SyntaxError{Pos: pos, Reason: fmt.Sprintf(format, args...)}
}

func (p *parser) document() (*Value, *SyntaxError) {
	if !utf8.Valid(p.text) {
		i := 0
		for r, n := utf8.DecodeRune(p.text); r != utf8.RuneError || n != 1; r, n = utf8.DecodeRune(p.text[i:]) {
			i += n
		}
		return nil, p.fail(i, "not UTF-8")
	}
	if err := p.space(); err != nil {
		return nil, err
	}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if err := p.space(); err != nil {
		return nil, err
	}
	if p.pos < len(p.text) {
		return nil, p.fail(p.pos, "text behind the value")
	}
	return v, nil
}

// peek returns the next byte, or 0 at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

// space skips white space and comments.
func (p *parser) space() *SyntaxError {
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == ' ' || c >= '\t' && c <= '\r':
			p.pos++
		case c == '/':
			if err := p.comment(); err != nil {
				return err
			}
		case c < utf8.RuneSelf:
			return nil
		default:
			r, n := utf8.DecodeRune(p.text[p.pos:])
			if r != 0xFEFF && r != 0x2028 && r != 0x2029 && !unicode.Is(unicode.Zs, r) {
				return nil
			}
			p.pos += n
		}
	}
	return nil
}

func (p *parser) comment() *SyntaxError {
	rest := string(p.text[p.pos:min(p.pos+2, len(p.text))])
	switch rest {
	case "//":
		if i := bytes.IndexAny(p.text[p.pos:], "\n\r\u2028\u2029"); i >= 0 {
			p.pos += i
		} else {
			p.pos = len(p.text)
		}
	case "/*":
		i := bytes.Index(p.text[p.pos+2:], []byte("*/"))
		if i < 0 {
			return p.fail(p.pos, "this comment does not end")
		}
		p.pos += i + 4
	default:
		return p.fail(p.pos, "unexpected '/'")
	}
	return nil
}

func (p *parser) value(depth int) (*Value, *SyntaxError) {
	if depth > MaxDepth {
		return nil, p.fail(p.pos, "nested deeper than %d levels", MaxDepth)
	}
	start := p.pos
	switch c := p.peek(); {
	case p.pos == len(p.text):
		return nil, p.fail(start, "the text ends where a value is wanted")
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"' || c == '\'':
		s, err := p.str()
		return &Value{Kind: String, Pos: start, Text: s}, err
	case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'I', c == 'N':
		s, err := p.number()
		return &Value{Kind: Number, Pos: start, Text: s}, err
	}
	switch word := p.word(); word {
	case "null":
		return &Value{Kind: Null, Pos: start, Text: word}, nil
	case "true", "false":
		return &Value{Kind: Bool, Pos: start, Text: word}, nil
	case "":
		return nil, p.unexpected(start, "a value")
	default:
		return nil, p.fail(start, "%q is not a value; a string needs quotes", word)
	}
}

func (p *parser) unexpected(pos int, wanted string) *SyntaxError {
	if pos >= len(p.text) {
		return p.fail(pos, "the text ends where %s is wanted", wanted)
	}
	r, _ := utf8.DecodeRune(p.text[pos:])
	return p.fail(pos, "%q where %s is wanted", r, wanted)
}

// word takes a run of ASCII letters.
func (p *parser) word() string {
	start := p.pos
	for c := p.peek() | 0x20; c >= 'a' && c <= 'z'; c = p.peek() | 0x20 {
		p.pos++
	}
	return string(p.text[start:p.pos])
}

// next skips to the next element of an array or object, behind a comma unless it is the first. done: the closing byte
// was taken.
func (p *parser) next(closing byte, first bool) (done bool, err *SyntaxError) {
	if err := p.space(); err != nil {
		return false, err
	}
	if !first && p.peek() == ',' {
		p.pos++
		if err := p.space(); err != nil {
			return false, err
		}
	} else if !first && p.peek() != closing {
		return false, p.unexpected(p.pos, fmt.Sprintf("',' or %q", closing))
	}
	if p.peek() == closing {
		p.pos++
		return true, nil
	}
	return false, nil
}

func (p *parser) array(depth int) (*Value, *SyntaxError) {
	v := &Value{Kind: Array, Pos: p.pos}
	p.pos++
	for {
		done, err := p.next(']', len(v.Elems) == 0)
		if done || err != nil {
			return v, err
		}
		e, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		v.Elems = append(v.Elems, e)
	}
}

func (p *parser) object(depth int) (*Value, *SyntaxError) {
	v := &Value{Kind: Object, Pos: p.pos}
	p.pos++
	var seen map[string]bool // for objects so large that a search of each member would be slow
	for {
		done, err := p.next('}', len(v.Members) == 0)
		if done || err != nil {
			return v, err
		}
		m := Member{Pos: p.pos}
		if m.Name, err = p.name(); err != nil {
			return nil, err
		}
		if seen[m.Name] || seen == nil && v.Get(m.Name) != nil {
			return nil, p.fail(m.Pos, "member %q is there twice", m.Name)
		}
		if err := p.space(); err != nil {
			return nil, err
		}
		if p.peek() != ':' {
			return nil, p.unexpected(p.pos, "':'")
		}
		p.pos++
		if err := p.space(); err != nil {
			return nil, err
		}
		if m.Value, err = p.value(depth + 1); err != nil {
			return nil, err
		}
		v.Members = append(v.Members, m)
		if len(v.Members) == 16 {
			seen = map[string]bool{}
			for _, m := range v.Members {
				seen[m.Name] = true
			}
		} else if seen != nil {
			seen[m.Name] = true
		}
	}
}

// name takes a member's name: a string or an ECMAScript 5.1 IdentifierName.
func (p *parser) name() (string, *SyntaxError) {
	if c := p.peek(); c == '"' || c == '\'' {
		return p.str()
	}
	var b strings.Builder
	start := p.pos
	for p.pos < len(p.text) {
		at := p.pos
		r, n := utf8.DecodeRune(p.text[p.pos:])
		p.pos += n
		if r == '\\' {
			if p.peek() != 'u' {
				return "", p.fail(at, "a name may hold \\u escapes only")
			}
			p.pos++
			var err *SyntaxError
			if r, err = p.hex(4); err != nil {
				return "", err
			}
		}
		if !identifier(r, b.Len() == 0) {
			p.pos = at
			break
		}
		b.WriteRune(r)
	}
	if b.Len() == 0 {
		return "", p.unexpected(start, "a name")
	}
	return b.String(), nil
}

func identifier(r rune, first bool) bool {
	if r == '$' || r == '_' || unicode.In(r, unicode.L, unicode.Nl) {
		return true
	}
	return !first && (unicode.In(r, unicode.Mn, unicode.Mc, unicode.Nd, unicode.Pc) || r == 0x200C || r == 0x200D)
}
