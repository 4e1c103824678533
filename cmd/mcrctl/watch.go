// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/spf13/cobra"
)

func (a *app) watchCommand() *cobra.Command {
	var (
		interval time.Duration
		rounds   int
	)
	cmd := &cobra.Command{
		Use:   "watch PATH|outputs",
		Short: "Print what changes, until interrupted",
		Long: `Print what changes below a path, until interrupted: changes as they happen, and counters every --interval.

watch outputs prints packets/s and bit/s (of UDP payload) of every output, each from two samples.`,
		Example: `  mcrctl watch outputs
  mcrctl watch '/mcr/forwarding/rules/rule[name=*]/state'`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().DurationVarP(&interval, "interval", "i", 0, "time between samples (default 1s for outputs, else as mcrd has it)")
	cmd.Flags().IntVarP(&rounds, "count", "n", 0, "end after so many changes or tables; 0: never")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client, args []string) error {
		var err error
		if args[0] == "outputs" {
			err = a.watchOutputs(ctx, c, interval, rounds)
		} else {
			err = a.watchPath(ctx, c, args[0], interval, rounds)
		}
		if ctx.Err() != nil {
			return nil // the person has seen enough
		}
		return err
	})
	return cmd
}

func (a *app) watchPath(ctx context.Context, c *client, arg string, interval time.Duration, rounds int) error {
	path, err := parsePath(arg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.subscribe(ctx, gpb.SubscriptionList_STREAM, interval, path)
	if err != nil {
		return err
	}
	for n := 0; rounds == 0 || n < rounds; {
		answer, err := stream.Recv()
		if err != nil {
			return ended(err)
		}
		note := answer.GetUpdate()
		if note == nil {
			continue
		}
		if err := writeChange(a.stdout, note, a.json()); err != nil {
			return err
		}
		n += len(note.GetUpdate()) + len(note.GetDelete())
	}
	return nil
}

// subscribe opens a Subscribe call with one list of paths.
func (c *client) subscribe(ctx context.Context, mode gpb.SubscriptionList_Mode, interval time.Duration, paths ...*gpb.Path) (gpb.GNMI_SubscribeClient, error) {
	stream, err := c.gnmi.Subscribe(ctx)
	if err != nil {
		return nil, err
	}
	list := &gpb.SubscriptionList{Mode: mode, Encoding: gpb.Encoding_JSON_IETF}
	for _, p := range paths {
		list.Subscription = append(list.Subscription, &gpb.Subscription{Path: p, SampleInterval: uint64(interval)})
	}
	err = stream.Send(&gpb.SubscribeRequest{Request: &gpb.SubscribeRequest_Subscribe{Subscribe: list}})
	if err != nil && !errors.Is(err, io.EOF) { // EOF: Recv has the reason
		return nil, err
	}
	return stream, nil
}

// ended is the error of a stream that should not have ended.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("mcrd ended the stream")
	}
	return err
}

// change is one line of watch PATH -o json.
type change struct {
	Time   time.Time       `json:"time"`
	Path   string          `json:"path"`
	Value  json.RawMessage `json:"value,omitempty"`
	Delete bool            `json:"delete,omitempty"`
}

func writeChange(w io.Writer, n *gpb.Notification, asJSON bool) error {
	var all []change
	at := time.Unix(0, n.GetTimestamp()).UTC()
	for _, p := range n.GetDelete() {
		all = append(all, change{Time: at, Path: pathString(join(n.GetPrefix(), p)), Delete: true})
	}
	us, err := updates(n)
	if err != nil {
		return err
	}
	for _, u := range us {
		all = append(all, change{Time: at, Path: pathString(u.Path), Value: u.JSON})
	}
	for _, c := range all {
		if asJSON {
			if err := json.NewEncoder(w).Encode(c); err != nil {
				return err
			}
			continue
		}
		value := "is gone"
		if !c.Delete {
			value = valueText(c.Value)
		}
		if _, err := fmt.Fprintf(w, "%s %s %s\n", c.Time.Local().Format("15:04:05.000"), c.Path, value); err != nil {
			return err
		}
	}
	return nil
}
