// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mcr/tests/lab"
)

func TestSpeeds(t *testing.T) {
	s := &speeds{}
	if average, slow := s.since(0); average != 0 || slow != 0 {
		t.Errorf("nothing measured: %v, %v", average, slow)
	}
	for range 20 {
		s.add(7000)
	}
	s.add(3000) // by mistake: not one of ten
	from := s.count()
	for _, ns := range []float64{7000, 14000, 7000, 8750} {
		s.add(ns)
	}
	if average, slow := s.since(from); math.Abs(average-(1+0.5+1+0.8)/4) > 1e-9 || slow != 0.05 {
		t.Errorf("average %v, slow for %v s", average, slow)
	}
	if average, slow := s.since(s.count()); average != 0 || slow != 0 {
		t.Errorf("nothing since: %v, %v", average, slow)
	}
	if average, slow := (*speeds)(nil).since((*speeds)(nil).count()); average != 0 || slow != 0 {
		t.Errorf("no meter: %v, %v", average, slow)
	}
}

// A run is made again where the CPU did not have its speed, and not where it had.
func TestSlow(t *testing.T) {
	lost, none := uint64(5), uint64(0)
	for _, c := range []struct {
		name string
		r    result
		want bool
	}{
		{"full speed", result{Speed: 0.9}, false},
		{"slow", result{Speed: 0.7}, true},
		{"not measured", result{}, false},
		{"lost at full speed", result{Speed: 1, Lost: &lost}, false},
		{"lost, and slow for a while", result{Speed: 0.99, Slow: 0.1, Lost: &lost}, true},
		{"slow for a while, and lost nothing", result{Speed: 0.99, Slow: 0.1, Lost: &none}, false},
		{"failed", result{Speed: 0.5, Error: "broken"}, false},
	} {
		if got := c.r.slow(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// The meter sees this CPU, and ends.
func TestMeter(t *testing.T) {
	b := &bench{config: &config{fwdCPU: strconv.Itoa(lab.CPUs(t)[0])}}
	stop, err := b.meter()
	if errors.Is(err, unix.EPERM) {
		t.Skipf("not allowed here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	lab.Until(t, 20*time.Second, "three windows", func() error {
		if n := b.speed.count(); n < 3 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if average, _ := b.speed.since(0); average <= 0 || average > 1 {
		t.Errorf("average %v", average)
	}
	b = &bench{config: &config{fwdCPU: "1,3"}}
	if _, err := b.meter(); err != nil || b.speed != nil {
		t.Errorf("several CPUs: %v, %v", err, b.speed)
	}
}
