// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/spf13/cobra"

	"mcr/northbound/form"
)

// ruleBody and outputBody are list entries as a Set sends them.
type ruleBody struct {
	Name    string         `json:"name"`
	Config  ruleConfig     `json:"config"`
	Outputs *outputsInBody `json:"outputs,omitempty"`
}

type outputsInBody struct {
	Output []outputBody `json:"output"`
}

type ruleConfig struct {
	Name           string `json:"name"`
	InputInterface string `json:"input-interface"`
	InputGroup     string `json:"input-group"`
	InputPort      uint16 `json:"input-port"`
	InputSource    string `json:"input-source,omitempty"`
}

type outputBody struct {
	Name   string       `json:"name"`
	Config outputConfig `json:"config"`
}

type outputConfig struct {
	Name        string `json:"name"`
	Interface   string `json:"interface"`
	Group       string `json:"group"`
	Port        uint16 `json:"port"`
	UnicastDest string `json:"unicast-dest,omitempty"`
}

func (a *app) addCommand() *cobra.Command {
	var (
		in      ruleConfig
		outputs []string
		replace bool
	)
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add a rule: one input and its outputs",
		Long: `Add a rule: one input and its outputs.

An output is written GROUP:PORT:INTERFACE, or GROUP:PORT:INTERFACE@DESTINATION to send unicast to a host.
Port 0 keeps the port that arrived.`,
		Example: `  mcrctl add --input-interface eth0 --input-group 239.1.1.1 --input-port 5000 \
             --outputs 239.1.1.1:5000:eth1,239.1.1.1:5000:gre0@10.2.0.5`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&in.Name, "name", "", "`name` of the rule (default INTERFACE:GROUP:PORT of the input)")
	f.BoolVar(&replace, "replace", false, "replace a rule that has this name")
	f.StringVar(&in.InputInterface, "input-interface", "", "`interface` to receive on")
	f.StringVar(&in.InputGroup, "input-group", "", "`group` to receive, or an own unicast address")
	f.Uint16Var(&in.InputPort, "input-port", 0, "UDP `port` to receive; 0 is every port of the group")
	f.StringVar(&in.InputSource, "input-source", "", "receive from this `address` only")
	f.StringArrayVar(&outputs, "outputs", nil, "`outputs`, separated by commas; may be given several times")
	_ = cmd.MarkFlagRequired("input-interface")
	_ = cmd.MarkFlagRequired("input-group")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client, _ []string) error {
		body, err := newRule(in, outputs)
		if err != nil {
			return err
		}
		return a.add(ctx, c, body, replace)
	})
	return cmd
}

// newRule makes a rule from the command line's words.
func newRule(in ruleConfig, outputs []string) (*ruleBody, error) {
	group, err := parseAddr("input-group", in.InputGroup)
	if err != nil {
		return nil, err
	}
	var source netip.Addr // invalid: any
	if in.InputSource != "" {
		if source, err = parseAddr("input-source", in.InputSource); err != nil {
			return nil, err
		}
	}
	if in.Name == "" {
		in.Name = form.RuleName(in.InputInterface, group, in.InputPort, source)
	}
	body := &ruleBody{Name: in.Name, Config: in}
	seen := map[string]bool{}
	for _, arg := range outputs {
		forms, err := parseOutputs(arg)
		if err != nil {
			return nil, err
		}
		for _, o := range forms {
			b := newOutput(o)
			if seen[b.Name] {
				return nil, fmt.Errorf("output %v is there twice", o)
			}
			seen[b.Name] = true
			if body.Outputs == nil {
				body.Outputs = &outputsInBody{}
			}
			body.Outputs.Output = append(body.Outputs.Output, b)
		}
	}
	return body, nil
}

func (a *app) add(ctx context.Context, c *client, body *ruleBody, replace bool) error {
	if err := checkName(body.Name); err != nil {
		return err
	}
	req := &gpb.SetRequest{}
	u, err := jsonUpdate(rulePath(body.Name), body)
	if err != nil {
		return err
	}
	if replace {
		req.Replace = append(req.Replace, u)
	} else {
		there, err := c.hasConfig(ctx, rulePath(body.Name))
		if err != nil {
			return err
		}
		if there {
			return fmt.Errorf("a rule %s exists already; --replace puts this one in its place, --name names it otherwise", body.Name)
		}
		req.Update = append(req.Update, u)
	}
	if err := c.set(ctx, req); err != nil {
		return err
	}
	a.note("rule %s is in force", body.Name)
	return nil
}

// jsonUpdate is one operation of a Set.
func jsonUpdate(path *gpb.Path, value any) (*gpb.Update, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return &gpb.Update{Path: path, Val: &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: raw}}}, nil
}
