// SPDX-License-Identifier: Apache-2.0

package json5

import (
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// number takes a number and returns its JSON form.
func (p *parser) number() (string, *SyntaxError) {
	start := p.pos
	sign := ""
	if c := p.peek(); c == '-' || c == '+' {
		if c == '-' {
			sign = "-"
		}
		p.pos++
	}
	if c := p.peek(); c == 'I' || c == 'N' {
		if w := p.word(); w != "Infinity" && w != "NaN" {
			return "", p.fail(start, "%q is not a value; a string needs quotes", w)
		}
		return string(p.text[start:p.pos]), nil
	}
	begin := p.pos
	for before := byte(0); p.pos < len(p.text) && numeric(p.text[p.pos], before); p.pos++ {
		before = p.text[p.pos]
	}
	s := string(p.text[begin:p.pos])
	if len(s) > 2 && (s[:2] == "0x" || s[:2] == "0X") && len(s) <= 34 {
		if n, ok := new(big.Int).SetString(s[2:], 16); ok {
			return sign + n.String(), nil
		}
		return "", p.fail(start, "not a number")
	}
	if norm, ok := decimal(s); ok {
		return sign + norm, nil
	}
	return "", p.fail(start, "not a number")
}

// numeric says whether c may go on a number whose latest byte is before.
func numeric(c, before byte) bool {
	switch {
	case c >= '0' && c <= '9', c == '.', c == '_':
		return true
	case c == '+' || c == '-':
		return before == 'e' || before == 'E'
	}
	return c|0x20 >= 'a' && c|0x20 <= 'z'
}

// decimal checks a decimal literal without sign, and gives a bare point its digit.
func decimal(s string) (string, bool) {
	mantissa, exponent := s, ""
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent = s[:i], s[i:]
		digits := strings.TrimLeft(exponent[1:], "+-")
		if len(exponent)-1-len(digits) > 1 || !allDigits(digits) {
			return "", false
		}
	}
	whole, frac, point := strings.Cut(mantissa, ".")
	if whole == "" && frac == "" || len(whole) > 1 && whole[0] == '0' ||
		whole != "" && !allDigits(whole) || frac != "" && !allDigits(frac) {
		return "", false
	}
	if whole == "" {
		whole = "0"
	}
	if point && frac != "" {
		whole += "." + frac
	}
	return whole + exponent, true
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// str takes a string in either kind of quotes.
func (p *parser) str() (string, *SyntaxError) {
	start, quote := p.pos, p.text[p.pos]
	p.pos++
	for i := p.pos; i < len(p.text); i++ { // the usual case: no escape
		switch c := p.text[i]; {
		case c == quote:
			s := string(p.text[p.pos:i])
			p.pos = i + 1
			return s, nil
		case c == '\\' || c == '\n' || c == '\r':
			return p.escaped(start, quote)
		}
	}
	return "", p.fail(start, "this string does not end")
}

func (p *parser) escaped(start int, quote byte) (string, *SyntaxError) {
	var b strings.Builder
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		p.pos++
		switch c {
		case quote:
			return b.String(), nil
		case '\n', '\r':
			return "", p.fail(start, "this string does not end on its line")
		case '\\':
			if err := p.escape(&b); err != nil {
				return "", err
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", p.fail(start, "this string does not end")
}

// escape takes what stands behind a backslash.
func (p *parser) escape(b *strings.Builder) *SyntaxError {
	at := p.pos - 1
	r, n := utf8.DecodeRune(p.text[p.pos:])
	p.pos += n
	if i := strings.IndexRune("bfnrtv", r); i >= 0 {
		b.WriteByte("\b\f\n\r\t\v"[i])
		return nil
	}
	switch {
	case n == 0:
		return p.fail(at, "the text ends in an escape")
	case r == '0' && (p.peek() < '0' || p.peek() > '9'):
		b.WriteByte(0)
	case r >= '0' && r <= '9':
		return p.fail(at, "octal escapes are not allowed")
	case r == 'x':
		h, err := p.hex(2)
		if err != nil {
			return err
		}
		b.WriteRune(h)
	case r == 'u':
		return p.unicode(b)
	case r == '\n' || r == 0x2028 || r == 0x2029: // the string goes on in the next line
	case r == '\r':
		if p.peek() == '\n' {
			p.pos++
		}
	default:
		b.WriteRune(r)
	}
	return nil
}

// unicode takes what stands behind \u, with the second half of a surrogate pair. A lone half is refused.
func (p *parser) unicode(b *strings.Builder) *SyntaxError {
	at := p.pos - 2
	r, err := p.hex(4)
	if err != nil {
		return err
	}
	if utf16.IsSurrogate(r) {
		var low rune
		if strings.HasPrefix(string(p.text[p.pos:min(p.pos+2, len(p.text))]), `\u`) {
			p.pos += 2
			if low, err = p.hex(4); err != nil {
				return err
			}
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return p.fail(at, "half of a surrogate pair")
		}
	}
	b.WriteRune(r)
	return nil
}

func (p *parser) hex(digits int) (rune, *SyntaxError) {
	end := p.pos + digits
	if end > len(p.text) {
		return 0, p.fail(p.pos, "the text ends in an escape")
	}
	n, err := strconv.ParseUint(string(p.text[p.pos:end]), 16, 32)
	if err != nil {
		return 0, p.fail(p.pos, "%d hexadecimal digits are wanted", digits)
	}
	p.pos = end
	return rune(n), nil
}
