// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// grace is what a process gets between SIGTERM and SIGKILL.
const grace = 5 * time.Second

// Proc is a process on a host.
type Proc struct {
	Stdout, Stderr Output

	t    TB
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended; err is set before
	err  error
}

// Cmd says what to start.
type Cmd struct {
	Args []string // program and arguments
	Env  []string // added to the environment
	Dir  string
}

// Start starts a program on the host; it is stopped when the test ends, and if the test failed, its standard error is shown.
func (h *Host) Start(args ...string) *Proc { h.t.Helper(); return h.StartCmd(Cmd{Args: args}) }

// StartCmd is Start with more to choose.
func (h *Host) StartCmd(c Cmd) *Proc {
	h.t.Helper()
	p := &Proc{t: h.t, name: h.Name + "/" + c.Args[0], cmd: exec.Command(c.Args[0], c.Args[1:]...), done: make(chan struct{})}
	p.cmd.Env, p.cmd.Dir = append(os.Environ(), c.Env...), c.Dir
	p.cmd.Stdout, p.cmd.Stderr = &p.Stdout, &p.Stderr
	p.cmd.WaitDelay = grace // for a child of it that holds the pipes
	// A group of its own, so that its children end with it; and it dies with us, even if we are killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := startOn(h, p.cmd); err != nil {
		h.fatal(err, "start %s", strings.Join(c.Args, " "))
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	h.t.Cleanup(func() {
		p.Stop()
		if h.t.Failed() && p.Stderr.String() != "" {
			h.t.Logf("--- standard error of %s:\n%s", p.name, tail(p.Stderr.String(), 100))
		}
	})
	return p
}

// Run runs a program to its end, at most 30 s, and returns its standard output. A failure ends the test.
func (h *Host) Run(args ...string) string {
	h.t.Helper()
	p := h.Start(args...)
	if err := p.Wait(30 * time.Second); err != nil {
		h.fatal(err, "%s\n%s%s", strings.Join(args, " "), p.Stdout.String(), p.Stderr.String())
	}
	return p.Stdout.String()
}

// Pid is the process's id.
func (p *Proc) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Proc) Done() <-chan struct{} { return p.done }

// Signal signals the process alone.
func (p *Proc) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("signal %v to %s: %v", s, p.name, err)
	}
}

// Wait waits for the end. The error is nil for exit code 0, an *exec.ExitError for another; a process that has not ended in time
// is left running.
func (p *Proc) Wait(within time.Duration) error {
	select {
	case <-p.done:
		return p.err
	case <-time.After(within):
		return fmt.Errorf("%s still runs after %v", p.name, within)
	}
}

// ExitCode is the exit code of a process that has ended, -1 if a signal ended it.
func (p *Proc) ExitCode() int { <-p.done; return p.cmd.ProcessState.ExitCode() }

// Stop ends the process with SIGTERM, after a while with SIGKILL, and its group with it. It may be called again.
func (p *Proc) Stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	if err := p.Wait(grace); err == nil || isExit(err) {
		p.killGroup()
		return err
	}
	p.killGroup()
	<-p.done
	return fmt.Errorf("%s did not end within %v of SIGTERM", p.name, grace)
}

// Kill is kill -9, of the whole group; it returns when the process is gone.
func (p *Proc) Kill() {
	p.killGroup()
	<-p.done
}

// killGroup also finds what outlived the leader: a group id is not used again while the group has members.
func (p *Proc) killGroup() { _ = syscall.Kill(-p.Pid(), syscall.SIGKILL) }

func isExit(err error) bool {
	_, ok := errors.AsType[*exec.ExitError](err)
	return ok
}

// starter is the one thread that starts processes. PDEATHSIG is sent when the *thread* that forked ends, and threads
// of the program under test do end, so this one lives as long as the process.
var starter = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

func startOn(h *Host, cmd *exec.Cmd) error {
	err := make(chan error, 1)
	starter() <- func() { err <- h.Do(cmd.Start) }
	return <-err
}

// Output collects what a process writes, up to maxOutput bytes.
type Output struct {
	mu      sync.Mutex // guards what follows
	buf     bytes.Buffer
	changed chan struct{} // closed at the next write; nil if nobody waits
}

const maxOutput = 16 << 20

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if room := maxOutput - o.buf.Len(); room > 0 {
		o.buf.Write(p[:min(room, len(p))])
	}
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
	return len(p), nil
}

// String is all that was written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// next is a channel that is closed at the next write.
func (o *Output) next() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return o.changed
}

// WaitLine waits for a whole line that match likes and returns it; ended, if it is not nil, tells when to give up early.
func (o *Output) WaitLine(within time.Duration, ended <-chan struct{}, match func(line string) bool) (string, error) {
	deadline := time.After(within)
	for {
		next := o.next()
		text := o.String()
		for line := range strings.Lines(text) {
			if whole, ok := strings.CutSuffix(line, "\n"); ok && match(whole) {
				return whole, nil
			}
		}
		select {
		case <-next:
		case <-ended:
			if o.String() == text {
				return "", errors.New("ended without the expected line")
			}
		case <-deadline:
			return "", fmt.Errorf("no expected line within %v", within)
		}
	}
}

func tail(s string, lines int) string {
	all := strings.SplitAfter(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}
