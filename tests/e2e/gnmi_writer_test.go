// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	gnmipb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// writer makes Sets, good and bad, until it is told to stop. Set n replaces its two rules, which then say n in every leaf that
// it touches, and adds an output to the standing rule or takes it away: whoever sees some of n and not all of it saw a half.
type writer struct {
	i    int
	c    *client
	rng  *rand.Rand
	next int // the Set to come

	good, bad, cut int
	took           []time.Duration // by the good ones
}

const (
	standing = "standing" // the rule that carries traffic
	writers  = 8
	never    = "never" // what the description is in Sets that must fail
)

func (w *writer) rules() [2]string {
	return [2]string{fmt.Sprintf("w%da", w.i), fmt.Sprintf("w%db", w.i)}
}
func (w *writer) guest() string { return fmt.Sprint("guest", w.i) }

func writerPort(n int) int { return 10_000 + n%50_000 }

// extras are the outputs that come and go.
func extras(n int) int { return n % 3 }

// request is Set n, with another description if it is to fail.
func (w *writer) request(n int, description string) *gnmipb.SetRequest {
	req := &gnmipb.SetRequest{}
	for k, name := range w.rules() {
		var outputs []obj
		for j := range 2 {
			outputs = append(outputs, uni(fmt.Sprint("o", j), "out", fmt.Sprintf("10.0.2.%d", 10+2*w.i+j), writerPort(n)))
		}
		if k == 0 {
			for j := range extras(n) {
				outputs = append(outputs, uni(fmt.Sprint("e", j), "out", fmt.Sprintf("10.0.2.%d", 100+2*w.i+j), writerPort(n)))
			}
		}
		rule := with(ruleOn(name, "in", outputs...), obj{"input-group": fmt.Sprintf("239.2.%d.%d", w.i, k+1), "description": description})
		req.Replace = append(req.Replace, put(rulePath(name), rule))
	}
	guest := outputPath(standing, w.guest())
	if n%2 == 1 {
		req.Update = append(req.Update, put(guest, uni(w.guest(), "out", "10.0.2.2", 7000+w.i)))
	} else {
		req.Delete = append(req.Delete, parsePath(guest))
	}
	return req
}

// spoil adds an operation that must fail.
func (w *writer) spoil(req *gnmipb.SetRequest) {
	a := w.rules()[0]
	faults := []*gnmipb.Update{
		put("mcr/forwarding/nonsense", 1),
		put(outputPath(a, "o1")+"/config/port", 70_000),
		put(rulePath(a)+"/state/description", "read-only"),
		put(rulePath(a)+"/config", obj{"input-group": group}), // the standing rule's
		put(outputPath(a, "o0")+"/config/unicast-dest", "239.9.9.9"),
		{Path: parsePath(rulePath(a) + "/config"), Val: &gnmipb.TypedValue{Value: &gnmipb.TypedValue_JsonIetfVal{JsonIetfVal: []byte(`{"description":`)}}},
	}
	f := faults[w.rng.IntN(len(faults))]
	if at := w.rng.IntN(len(req.Update) + 1); at < len(req.Update) {
		req.Update[at], f = f, req.Update[at]
	}
	req.Update = append(req.Update, f)
}

// run makes Sets until stop closes, and a last good one. Its error is one that no Set of its kind may have.
func (w *writer) run(ctx context.Context, stop <-chan struct{}) error {
	for {
		n := w.next
		last := false
		select {
		case <-stop:
			last = true
		default:
		}
		switch dice := w.rng.IntN(10); {
		case !last && dice < 3:
			req := w.request(n, never)
			w.spoil(req)
			_, err := w.c.c.Set(ctx, req)
			if code := status.Code(err); code != codes.InvalidArgument && code != codes.NotFound && code != codes.AlreadyExists {
				return fmt.Errorf("writer %d: a bad Set is answered with %v", w.i, err)
			}
			w.bad++
			continue // the next one has this number
		case !last && dice == 3: // given up on the way: wholly there, or not at all
			hurry, cancel := context.WithTimeout(ctx, time.Duration(w.rng.IntN(5_000))*time.Microsecond)
			_, err := w.c.c.Set(hurry, w.request(n, strconv.Itoa(n)))
			cancel()
			if code := status.Code(err); code != codes.OK && code != codes.DeadlineExceeded && code != codes.Canceled {
				return fmt.Errorf("writer %d: a Set that was given up: %w", w.i, err)
			}
			w.cut++
		default:
			began := time.Now()
			if _, err := w.c.c.Set(ctx, w.request(n, strconv.Itoa(n))); err != nil {
				return fmt.Errorf("writer %d, Set %d: %w", w.i, n, err)
			}
			w.took = append(w.took, time.Since(began))
			w.good++
		}
		w.next++
		if last {
			return nil
		}
	}
}

// half says what of the writer's latest Set is not as the rest of it. get gives the value of a leaf, "" if it is not there; all says
// that get knows everything, else what it does not have is not missed.
func (w *writer) half(get func(path string) string, all bool) error {
	rules := w.rules()
	said := get(rulePath(rules[0]) + "/config/description")
	n, err := strconv.Atoi(said)
	if err != nil && (said != "" || all) {
		return fmt.Errorf("rule %s says %q", rules[0], said)
	}
	want := func(path, value string) error {
		if got := get(path); got != value && (all || got != "" && said != "") {
			return fmt.Errorf("%s is %q where Set %d says %q", path, got, n, value)
		}
		return nil
	}
	port := strconv.Itoa(writerPort(n))
	for k, rule := range rules {
		for _, side := range []string{"config", "state"} {
			if err := want(rulePath(rule)+"/"+side+"/description", said); err != nil {
				return err
			}
			for j := range 2 {
				if err := want(outputPath(rule, fmt.Sprint("o", j))+"/"+side+"/port", port); err != nil {
					return err
				}
				extra := ""
				if j < extras(n) && k == 0 {
					extra = port
				}
				if err := want(outputPath(rule, fmt.Sprint("e", j))+"/"+side+"/port", extra); all && err != nil {
					return err
				}
			}
		}
	}
	guest := ""
	if n%2 == 1 {
		guest = strconv.Itoa(7000 + w.i)
	}
	if err := want(outputPath(standing, w.guest())+"/config/port", guest); all && err != nil {
		return err
	}
	return nil
}
