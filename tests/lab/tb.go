// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// TB is what the lab wants from a test: *testing.T, *testing.B and *testing.F have it, and Demo provides it.
type TB interface {
	Helper()
	Name() string
	Logf(format string, a ...any)
	Errorf(format string, a ...any)
	Fatalf(format string, a ...any)
	Failed() bool
	Cleanup(f func())
	Context() context.Context // ends just before the clean-up
}

// Demo runs f as a test is run, outside of go test: what f logs goes to w, clean-ups run last in first out, also after
// Fatalf and after a panic. It returns an error if f failed.
func Demo(ctx context.Context, name string, w io.Writer, f func(TB)) error {
	ctx, cancel := context.WithCancel(ctx)
	d := &demo{name: name, w: w, ctx: ctx}
	done := make(chan struct{})
	go func() { // of its own, as Fatalf ends the goroutine
		defer close(done)
		defer d.cleanup()
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				d.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		f(d)
	}()
	<-done
	if d.Failed() {
		return fmt.Errorf("%s failed", name)
	}
	return nil
}

type demo struct {
	name     string
	w        io.Writer
	ctx      context.Context
	failed   atomic.Bool
	cleanups []func()
}

func (d *demo) Helper()                        {}
func (d *demo) Name() string                   { return d.name }
func (d *demo) Logf(format string, a ...any)   { fmt.Fprintf(d.w, format+"\n", a...) }
func (d *demo) Errorf(format string, a ...any) { d.failed.Store(true); d.Logf(format, a...) }
func (d *demo) Fatalf(format string, a ...any) { d.Errorf(format, a...); runtime.Goexit() }
func (d *demo) Failed() bool                   { return d.failed.Load() }
func (d *demo) Cleanup(f func())               { d.cleanups = append(d.cleanups, f) }
func (d *demo) Context() context.Context       { return d.ctx }

func (d *demo) cleanup() {
	for len(d.cleanups) > 0 {
		last := len(d.cleanups) - 1
		f := d.cleanups[last]
		d.cleanups = d.cleanups[:last]
		func() {
			defer func() {
				if p := recover(); p != nil {
					d.Errorf("panic in clean-up: %v\n%s", p, debug.Stack())
				}
			}()
			f()
		}()
	}
}
