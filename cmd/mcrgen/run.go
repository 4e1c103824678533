// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"

	"mcr/cmd/mcrgen/stream"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage
)

// failure is an error of the work, as against one of the command line.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "mcrgen",
		Short:         "Send numbered datagrams and judge what arrives",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(args)
	root.AddCommand(sendCommand(), sinkCommand())
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "mcrgen:", err)
	if _, ok := errors.AsType[failure](err); ok {
		return exitFailed
	}
	fmt.Fprintln(stderr, "try mcrgen --help")
	return exitUsage
}

func sendCommand() *cobra.Command {
	var (
		c             stream.SendConfig
		group, source string
		port          uint16
		rate, output  string
	)
	cmd := &cobra.Command{
		Use:     "send --group GROUP --port PORT --interface NAME",
		Short:   "Send a stream of numbered datagrams",
		Example: "  mcrgen send --interface eth0 --group 239.1.1.1 --port 5000 --size 1316 --rate 1000 --count 10000",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			dest, err := address("--group", group)
			if err != nil {
				return err
			}
			c.Dest = netip.AddrPortFrom(dest, port)
			if source != "" {
				if c.Source, err = address("--source", source); err != nil {
					return err
				}
			}
			if rate != "max" {
				if c.Rate, err = strconv.ParseFloat(rate, 64); err != nil || !(c.Rate > 0) {
					return fmt.Errorf("--rate %q: datagrams a second, or max", rate)
				}
			}
			if err := oneOf("--output", output, "table", "json"); err != nil {
				return err
			}
			return send(cmd.Context(), c, output, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&c.Interface, "interface", "", "egress interface; a unicast destination needs none")
	f.StringVar(&group, "group", "", "destination: a group, or a unicast address")
	f.Uint16Var(&port, "port", 0, "destination port")
	f.StringVar(&source, "source", "", "source address (default: the interface's)")
	f.Uint16Var(&c.SourcePort, "source-port", 0, "source port (default: the kernel's choice)")
	f.IntSliceVar(&c.Sizes, "size", []int{1316}, "bytes of payload, 0-65507; several are taken in turn")
	f.StringVar(&rate, "rate", "1000", "datagrams a second, or max")
	f.IntVar(&c.Burst, "burst", 0, "datagrams sent back to back, 1-64 (default: what is due)")
	f.IntVar(&c.Segments, "segments", 0, "datagrams in one segmented send (UDP_SEGMENT), up to 64 of one size (default: each by itself)")
	f.Uint64Var(&c.Count, "count", 0, "datagrams in all; 0: until a signal comes")
	f.IntVar(&c.TTL, "ttl", 16, "TTL, 1-255")
	f.IntVar(&c.DSCP, "dscp", 0, "DSCP, 0-63")
	f.Uint32Var(&c.Stream, "stream", 0, "number of the stream in each datagram (default: at random)")
	f.StringVarP(&output, "output", "o", "table", "table or json")
	for _, name := range []string{"group", "port"} {
		_ = cmd.MarkFlagRequired(name) // the flag is there
	}
	return cmd
}

func sinkCommand() *cobra.Command {
	var (
		c                     stream.SinkConfig
		listen, group, source string
		port                  uint16
		count                 uint64
		idle                  time.Duration
		output                string
	)
	cmd := &cobra.Command{
		Use:     "sink {--listen ADDRESS:PORT | --group GROUP --interface NAME}",
		Short:   "Receive, and report what came",
		Example: "  mcrgen sink --listen 10.2.0.5:5000 --count 10000 --idle 5s -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if listen != "" {
				if c.Listen, err = netip.ParseAddrPort(listen); err != nil || c.Listen.Addr().IsMulticast() {
					return fmt.Errorf("--listen %q: a unicast ADDRESS:PORT; a group goes with --group", listen)
				}
			} else {
				addr, err := address("--group", group)
				if err != nil {
					return err
				}
				if !addr.IsMulticast() || c.Interface == "" {
					return fmt.Errorf("--group %s: a multicast address, with --interface", group)
				}
				c.Listen = netip.AddrPortFrom(addr, port)
			}
			if source != "" {
				if c.Source, err = address("--source", source); err != nil {
					return err
				}
			}
			if err := oneOf("--output", output, "table", "json"); err != nil {
				return err
			}
			return sink(cmd.Context(), c, count, idle, output, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&listen, "listen", "", "unicast address and port to listen on; 0.0.0.0 is any")
	f.StringVar(&group, "group", "", "group to join")
	f.StringVar(&c.Interface, "interface", "", "interface to join it on")
	f.Uint16Var(&port, "port", 5000, "port of the group")
	f.StringVar(&source, "source", "", "join this source of the group only")
	f.Uint64Var(&count, "count", 0, "end when so many different datagrams have come; fewer are a failure")
	f.DurationVar(&idle, "idle", 0, "end when nothing has come for so long (default: wait)")
	f.StringVarP(&output, "output", "o", "table", "table or json")
	cmd.MarkFlagsMutuallyExclusive("listen", "group")
	cmd.MarkFlagsOneRequired("listen", "group")
	return cmd
}

func address(flag, s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return a, fmt.Errorf("%s %q: an IPv4 address is needed", flag, s)
	}
	return a, nil
}

func oneOf(flag, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return fmt.Errorf("%s %q: one of %v", flag, value, allowed)
}

func send(ctx context.Context, c stream.SendConfig, output string, stdout io.Writer) error {
	s, err := stream.OpenSender(c)
	if err != nil {
		return failure{err}
	}
	defer s.Close()
	sent, err := s.Run(ctx)
	if err != nil {
		return failure{err}
	}
	if err := printSent(stdout, sent, output); err != nil {
		return failure{err}
	}
	if sent.Errors > 0 {
		return failure{fmt.Errorf("the kernel refused %d datagrams", sent.Errors)}
	}
	return nil
}

// sink receives until one of its ends is reached, and reports.
func sink(ctx context.Context, c stream.SinkConfig, count uint64, idle time.Duration, output string, stdout, stderr io.Writer) error {
	s, err := stream.OpenSink(c)
	if err != nil {
		return failure{err}
	}
	defer s.Close()
	fmt.Fprintln(stderr, "listening on", s.LocalAddr())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		enough(ctx, s, count, idle)
	}()
	if err := s.Run(ctx); err != nil {
		return failure{err}
	}
	r := s.Report(count)
	if err := printReport(stdout, r, output); err != nil {
		return failure{err}
	}
	if count > 0 && (r.Distinct() < count || !r.Clean()) {
		return failure{fmt.Errorf("want %d datagrams, each once, in order and unchanged", count)}
	}
	return nil
}

// enough returns when count datagrams came, when nothing came for idle, or when ctx ends.
func enough(ctx context.Context, s *stream.Sink, count uint64, idle time.Duration) {
	for {
		_, distinct, more := s.Counts()
		if count > 0 && distinct >= count {
			return
		}
		var silence <-chan time.Time // nil, and so never, without idle
		if idle > 0 {
			silence = time.After(idle)
		}
		select {
		case <-more:
		case <-silence:
			return
		case <-ctx.Done():
			return
		}
	}
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
