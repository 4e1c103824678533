// SPDX-License-Identifier: Apache-2.0

package gnmi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"mcr/northbound/gnmi"
	"mcr/northbound/operations"
	mcrv1 "mcr/northbound/operations/mcr/v1"
)

// wholeOperations is whole with the Operations service beside gNMI.
func wholeOperations(t *testing.T) (*target, mcrv1.OperationsClient) {
	t.Helper()
	service := &operations.Server{}
	tg, store, _ := whole(t, func(s *gnmi.Server) { service.Target = s; s.Offer(service.Register) })
	service.History = store
	return tg, mcrv1.NewOperationsClient(tg.conn)
}

const ruleR = "/mcr/forwarding/rules/rule[name=r]"

func ruleJSON(group string, port int) string {
	return fmt.Sprintf(`{"config":{"input-interface":"eth0","input-group":%q,"input-port":%d}}`, group, port)
}

// Validate says what Set would do, and Set does it; a refusal is the same word for word.
func TestValidateIsSetWithoutTheChange(t *testing.T) {
	tg, ops := wholeOperations(t)
	set(t, tg.client, &gpb.SetRequest{Replace: []*gpb.Update{ietfUpdate(ruleR, ruleJSON("239.1.1.1", 5000))}})
	before := ietf(t, tg, gpb.GetRequest_CONFIG, "/")
	t.Run("changes", func(t *testing.T) {
		p, err := ops.Validate(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{ietfUpdate(ruleR+"/config", `{"input-port":5001,"description":"x"}`)}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range p.GetChanges() {
			got = append(got, c.GetPath()+" "+c.GetOld()+">"+c.GetNew())
		}
		want := []string{ruleR + `/config/description >"x"`, ruleR + `/config/input-port 5000>5001`}
		if diff := cmp.Diff(want, got); diff != "" || p.GetRevision() != 1 {
			t.Errorf("revision %d (-want +got):\n%s", p.GetRevision(), diff)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		for name, req := range map[string]*gpb.SetRequest{
			"bad_value":    {Update: []*gpb.Update{ietfUpdate(ruleR+"/config/input-port", `70000`), ietfUpdate(ruleR+"/config/input-group", `"10.1.1.1"`)}},
			"unknown_path": {Delete: []*gpb.Path{elems("/mcr/wrong")}},
			"read_only":    {Delete: []*gpb.Path{elems(ruleR + "/state")}},
			"taken_input":  {Update: []*gpb.Update{ietfUpdate("/mcr/forwarding/rules/rule[name=other]", ruleJSON("239.1.1.1", 5000))}},
			"target":       {Delete: []*gpb.Path{{Target: "x"}}},
			"no_election":  {Extension: []*gnmi_ext.Extension{{Ext: &gnmi_ext.Extension_MasterArbitration{MasterArbitration: &gnmi_ext.MasterArbitration{}}}}},
			"mixed":        {Delete: []*gpb.Path{elems("/mcr")}, UnionReplace: []*gpb.Update{ietfUpdate("/mcr", "{}")}},
		} {
			_, fromValidate := ops.Validate(t.Context(), req)
			_, fromSet := tg.client.Set(t.Context(), req)
			if status.Code(fromSet) == codes.OK || !proto.Equal(status.Convert(fromValidate).Proto(), status.Convert(fromSet).Proto()) {
				t.Errorf("%s: Validate says %v, Set says %v", name, fromValidate, fromSet)
			}
		}
	})
	t.Run("no_master_is_registered", func(t *testing.T) {
		if _, err := ops.Validate(t.Context(), &gpb.SetRequest{Extension: master("", 9, 0)}); err != nil {
			t.Error(err)
		}
		set(t, tg.client, &gpb.SetRequest{Extension: master("", 1, 0)})
		_, err := ops.Validate(t.Context(), &gpb.SetRequest{Extension: master("", 0, 9)})
		wantStatus(t, err, codes.PermissionDenied, "{high: 1, low: 0}")
	})
	t.Run("confirm_cannot_be_validated", func(t *testing.T) {
		_, err := ops.Validate(t.Context(), &gpb.SetRequest{Extension: []*gnmi_ext.Extension{commitExt(&gnmi_ext.Commit{Id: "c", Action: &gnmi_ext.Commit_Confirm{}})}})
		wantStatus(t, err, codes.InvalidArgument, "confirm")
	})
	if after := ietf(t, tg, gpb.GetRequest_CONFIG, "/"); string(after) != string(before) {
		t.Errorf("the configuration changed:\n%s\n%s", before, after)
	}
}

// What GetCommit returns, given to a replace of "/", is the old configuration: a rollback.
func TestRollbackByGetCommit(t *testing.T) {
	tg, ops := wholeOperations(t)
	set(t, tg.client, &gpb.SetRequest{Replace: []*gpb.Update{ietfUpdate(ruleR, ruleJSON("239.1.1.1", 5000))}})
	first := ietf(t, tg, gpb.GetRequest_CONFIG, "/")
	set(t, tg.client, &gpb.SetRequest{Delete: []*gpb.Path{elems(ruleR)}})
	c, err := ops.GetCommit(t.Context(), &mcrv1.GetCommitRequest{Revision: 1})
	if err != nil {
		t.Fatal(err)
	}
	if c.GetRevision() != 1 || c.GetAddress() != "unix" || time.Since(time.Unix(0, c.GetTime())).Abs() > time.Minute || !json.Valid(c.GetJsonIetf()) {
		t.Errorf("got %v", c)
	}
	set(t, tg.client, &gpb.SetRequest{Replace: []*gpb.Update{ietfUpdate("/", string(c.GetJsonIetf()))}})
	if now := ietf(t, tg, gpb.GetRequest_CONFIG, "/"); string(now) != string(first) {
		t.Errorf("rolled back to\n%s\nwant\n%s", now, first)
	}
	_, err = ops.GetCommit(t.Context(), &mcrv1.GetCommitRequest{Revision: 99})
	wantStatus(t, err, codes.NotFound, "99")
	_, err = ops.Clear(t.Context(), &mcrv1.ClearRequest{Learnt: mcrv1.Learnt_LEARNT_IGMP})
	wantStatus(t, err, codes.Unimplemented, "LEARNT_IGMP")
}

// G100 to G104 on the real store, as a client sees them.
func TestCommitConfirmedOnTheStore(t *testing.T) {
	tg, _, _ := whole(t)
	set(t, tg.client, &gpb.SetRequest{Replace: []*gpb.Update{ietfUpdate(ruleR, ruleJSON("239.1.1.1", 5000))}})
	begin := func(id string, d time.Duration, port int) error {
		_, err := tg.client.Set(t.Context(), &gpb.SetRequest{
			Replace: []*gpb.Update{ietfUpdate(ruleR, ruleJSON("239.1.1.1", port))}, Extension: []*gnmi_ext.Extension{
				commitExt(&gnmi_ext.Commit{Id: id, Action: request(durationpb.New(d))}),
			},
		})
		return err
	}
	decide := func(c *gnmi_ext.Commit) error {
		_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Extension: []*gnmi_ext.Extension{commitExt(c)}})
		return err
	}
	confirm := func(id string) *gnmi_ext.Commit { return &gnmi_ext.Commit{Id: id, Action: &gnmi_ext.Commit_Confirm{}} }
	port := func() string { return string(ietf(t, tg, gpb.GetRequest_CONFIG, ruleR+"/config/input-port")) }

	wantStatus(t, decide(confirm("c1")), codes.FailedPrecondition)
	if err := begin("c1", time.Minute, 5001); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, begin("c2", time.Minute, 5002), codes.FailedPrecondition, "c1")
	_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Delete: []*gpb.Path{elems(ruleR)}})
	wantStatus(t, err, codes.FailedPrecondition, "c1")
	wantStatus(t, decide(confirm("c2")), codes.InvalidArgument, "c2")
	if got := port(); got != "5001" {
		t.Errorf("while it waits the port is %s", got)
	}
	if err := decide(confirm("c1")); err != nil || port() != "5001" {
		t.Errorf("confirmed: %v, port %s", err, port())
	}
	if err := begin("c3", time.Minute, 5003); err != nil {
		t.Fatal(err)
	}
	if err := decide(&gnmi_ext.Commit{Id: "c3", Action: &gnmi_ext.Commit_Cancel{}}); err != nil || port() != "5001" {
		t.Errorf("cancelled: %v, port %s", err, port())
	}
	s := tg.open(t, list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, ruleR+"/config"))
	untilSync(t, s)
	if err := begin("c4", 300*time.Millisecond, 5004); err != nil {
		t.Fatal(err)
	}
	var told []string
	for len(told) < 2 {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range m.GetUpdate().GetUpdate() {
			told = append(told, string(u.GetVal().GetJsonVal()))
		}
	}
	if strings.Join(told, " ") != "5004 5001" {
		t.Errorf("G101: the subscriber was told %v", told)
	}
}

// G50 on the real store: the named paths are replaced, and what the text of a file says is added.
func TestUnionReplaceOnTheStore(t *testing.T) {
	tg, _, _ := whole(t)
	set(t, tg.client, &gpb.SetRequest{Update: []*gpb.Update{
		ietfUpdate(ruleR, ruleJSON("239.1.1.1", 5000)), ietfUpdate("/mcr/forwarding/rules/rule[name=s]", ruleJSON("239.1.1.2", 5000)),
	}})
	set(t, tg.client, &gpb.SetRequest{UnionReplace: []*gpb.Update{ietfUpdate(ruleR, ruleJSON("239.1.1.3", 5000))}})
	got := string(ietf(t, tg, gpb.GetRequest_CONFIG, "/mcr/forwarding/rules"))
	if !strings.Contains(got, "239.1.1.3") || !strings.Contains(got, "239.1.1.2") || strings.Contains(got, "239.1.1.1") {
		t.Errorf("one path: %s", got)
	}
	set(t, tg.client, &gpb.SetRequest{UnionReplace: []*gpb.Update{
		ietfUpdate("/mcr/forwarding/rules", `{"rule":[{"name":"t","config":{"input-interface":"eth0","input-group":"239.1.1.4","input-port":5000}}]}`),
		{Path: &gpb.Path{Origin: "mcr_cli"}, Val: &gpb.TypedValue{Value: &gpb.TypedValue_AsciiVal{AsciiVal: `{forwarding:{unicast_ttl:7}}`}}},
	}})
	got = string(ietf(t, tg, gpb.GetRequest_CONFIG, "/mcr/forwarding"))
	if !strings.Contains(got, "239.1.1.4") || strings.Contains(got, "239.1.1.3") || !strings.Contains(got, `"unicast-ttl":7`) {
		t.Errorf("two origins: %s", got)
	}
}
