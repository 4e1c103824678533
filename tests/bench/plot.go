// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"strings"
)

// The picture has two panels: cost by N, saturated; cost by delay, paced. It is SVG by hand: two scales, lines, marks, words.

const (
	panelW, panelH = 430.0, 340.0
	panelTop       = 60.0
	panelGap       = 150.0 // beside each panel: the names of the lines stand there
	panelLeft      = 60.0
)

// inks are told apart by those who see few colours, too; the marks differ as well.
var inks = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#595959"}

// axis is a logarithmic scale.
type axis struct {
	low, high  float64
	from, size float64 // in the picture; a negative size runs upwards
	name       string
}

func (a axis) at(v float64) float64 {
	return a.from + a.size*math.Log(v/a.low)/math.Log(a.high/a.low)
}

// ticks are the powers of ten, and where those are few, 2 and 5 times them.
func (a axis) ticks() (out []float64) {
	steps := []float64{1}
	if a.high/a.low < 1000 {
		steps = []float64{1, 2, 5}
	}
	for p := math.Pow(10, math.Floor(math.Log10(a.low))); p <= a.high; p *= 10 {
		for _, s := range steps {
			if v := p * s; v >= a.low*0.999 && v <= a.high*1.001 {
				out = append(out, v)
			}
		}
	}
	return out
}

// span makes the scale cover v, with room at both ends.
func (a *axis) span(v float64) {
	if v <= 0 {
		return
	}
	if a.low == 0 || v/1.25 < a.low {
		a.low = v / 1.25
	}
	if v*1.25 > a.high {
		a.high = v * 1.25
	}
}

// line is one forwarder's.
type line struct {
	name   string
	points [][2]float64
}

func (s *store) picture() string {
	var b strings.Builder
	w, h := panelLeft+2*panelW+2*panelGap, panelTop+panelH+60
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", w, h)
	fmt.Fprintf(&b, `<rect width="%g" height="%g" fill="#ffffff"/>`+"\n", w, h)
	panel(&b, panelLeft, fmt.Sprintf("Cost of one output, saturated, %d bytes", payload), "outputs of one input", s.byN())
	panel(&b, panelLeft+panelW+panelGap, "Paced one by one, 100 outputs: cost by delay", "median delay, µs; along mcrd's lines coalesce-usec is 0, 200, 1000", s.byDelay())
	b.WriteString("</svg>\n")
	return b.String()
}

// byN are the lines of the left panel.
func (s *store) byN() (lines []line) {
	counts := []int{1, 10, 100, 1000, 10000}
	for _, f := range []string{"naive", "threads", "sendmmsg", "gso", "uring-gso", "mcrd-mmsg", "mcrd"} { // the last is drawn on top
		l := line{name: f}
		for _, n := range counts {
			if x := s.spread(at("saturated", n), f, nsOut); x.known() {
				l.points = append(l.points, [2]float64{float64(n), x.Median})
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// byDelay are those of the right one: mcrd's along the knob coalesce-usec, the others one mark each.
func (s *store) byDelay() (lines []line) {
	for _, r := range []float64{3000, 8000} {
		w := atRate("paced", 100, r)
		for _, names := range [][]string{{"mcrd", "mcrd-coalesce-200", "mcrd-coalesce-1000"}, {"sendmmsg"}, {"gso"}} {
			l := line{name: fmt.Sprintf("%s, %g/s", names[0], r)}
			for _, f := range names {
				x, y := s.spread(w, f, p50), s.spread(w, f, nsOut)
				if x.known() && y.known() {
					l.points = append(l.points, [2]float64{x.Median, y.Median})
				}
			}
			lines = append(lines, l)
		}
	}
	return lines
}

func panel(b *strings.Builder, left float64, title, xName string, lines []line) {
	x := axis{from: left, size: panelW, name: xName}
	y := axis{from: panelTop + panelH, size: -panelH, name: "ns of CPU per output"}
	for _, l := range lines {
		for _, p := range l.points {
			x.span(p[0])
			y.span(p[1])
		}
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" font-size="15" fill="#111111">%s</text>`+"\n", left, panelTop-30, title)
	if x.high == 0 {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" fill="#595959">not measured</text>`+"\n", left, panelTop)
		return
	}
	grids(b, x, y)
	marks := place(lines, y)
	for i, l := range lines {
		draw(b, l, inks[i%len(inks)], i, x, y, marks[i])
	}
}

func grids(b *strings.Builder, x, y axis) {
	bottom := y.from
	for _, v := range x.ticks() {
		fmt.Fprintf(b, `<line x1="%[1]s" x2="%[1]s" y1="%.1[2]f" y2="%.1[3]f" stroke="#e5e5e5"/><text x="%[1]s" y="%.1[4]f" text-anchor="middle" fill="#595959">%[5]s</text>`+"\n",
			num(x.at(v)), bottom, bottom+y.size, bottom+18, short(v))
	}
	for _, v := range y.ticks() {
		fmt.Fprintf(b, `<line x1="%.1[1]f" x2="%.1[2]f" y1="%[3]s" y2="%[3]s" stroke="#e5e5e5"/><text x="%.1[4]f" y="%.1[5]f" text-anchor="end" fill="#595959">%[6]s</text>`+"\n",
			x.from, x.from+x.size, num(y.at(v)), x.from-6, y.at(v)+4, short(v))
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="#333333">%s</text>`+"\n", x.from+x.size/2, bottom+38, x.name)
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" fill="#333333">%s</text>`+"\n", x.from, panelTop-10, y.name)
}

// place finds heights for the names at the right, so that they do not meet.
func place(lines []line, y axis) []float64 {
	const apart = 15
	at := make([]float64, len(lines))
	var order []int
	for i, l := range lines {
		if len(l.points) > 0 {
			at[i] = y.at(l.points[len(l.points)-1][1])
			order = append(order, i)
		}
	}
	for i := range order { // few lines: sorted by insertion
		for j := i; j > 0 && at[order[j]] < at[order[j-1]]; j-- {
			order[j], order[j-1] = order[j-1], order[j]
		}
	}
	for i := 1; i < len(order); i++ {
		at[order[i]] = max(at[order[i]], at[order[i-1]]+apart)
	}
	return at
}

func draw(b *strings.Builder, l line, ink string, shape int, x, y axis, name float64) {
	if len(l.points) == 0 {
		return
	}
	var path []string
	for _, p := range l.points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(p[0]), y.at(p[1])))
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(path, " "), ink)
	for _, p := range l.points {
		px, py := x.at(p[0]), y.at(p[1])
		switch shape % 3 {
		case 0:
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>`+"\n", px, py, ink)
		case 1:
			fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="7" height="7" fill="%s"/>`+"\n", px-3.5, py-3.5, ink)
		default:
			fmt.Fprintf(b, `<path d="M%.1f %.1fl4.5 8h-9z" fill="%s"/>`+"\n", px, py-5, ink)
		}
	}
	last := l.points[len(l.points)-1]
	end := x.from + x.size
	fmt.Fprintf(b, `<path d="M%.1f %.1fL%.1f %.1f" stroke="%s" stroke-width="0.5"/>`+"\n", x.at(last[0]), y.at(last[1]), end+6, name, ink)
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" fill="#111111">%s</text>`+"\n", end+9, name+4, l.name)
}

func num(v float64) string { return fmt.Sprintf("%.1f", v) }

func short(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%g k", v/1000)
	}
	return fmt.Sprintf("%g", v)
}
