// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

var plaintext = grpc.WithTransportCredentials(insecure.NewCredentials())

// tcp is a client over TCP on the router's own loopback address.
func (tg *target) tcp(t *testing.T, address string, opts ...grpc.DialOption) *client {
	t.Helper()
	dialer := func(ctx context.Context, address string) (conn net.Conn, err error) {
		var d net.Dialer
		doErr := tg.rtr.Do(func() error { conn, err = d.DialContext(ctx, "tcp", address); return nil })
		if doErr != nil {
			return nil, doErr
		}
		return conn, err
	}
	conn := dial(t, "passthrough:///"+address, append(opts, grpc.WithContextDialer(dialer))...)
	return &client{t, tg, gpb.NewGNMIClient(conn)}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	tg := start(t, "--insecure", "--listen", "127.0.0.1:9339")

	// The version is that of the compiled proto.
	tg.rule(t, "G01", func(c *client) {
		want := proto.GetExtension(gpb.File_github_com_openconfig_gnmi_proto_gnmi_gnmi_proto.Options(), gpb.E_GnmiService)
		if got := c.capabilities().GetGNMIVersion(); got == "" || got != want {
			c.t.Errorf("version %q, want %q", got, want)
		}
	})

	// Each model once, as the YANG files have them.
	tg.rule(t, "G02", func(c *client) {
		var got []string
		for _, m := range c.capabilities().GetSupportedModels() {
			got = append(got, m.GetName()+" "+m.GetOrganization()+" "+m.GetVersion())
		}
		if diff := cmp.Diff(yangModels(c.t), got); diff != "" {
			c.t.Errorf("models (-want +got):\n%s", diff)
		}
	})

	// What is listed works, what is not is refused by name; JSON is there.
	tg.rule(t, "G03", func(c *client) {
		listed := c.capabilities().GetSupportedEncodings()
		if !slices.Contains(listed, gpb.Encoding_JSON) {
			c.t.Errorf("encodings %v, without JSON", listed)
		}
		for n, name := range gpb.Encoding_name {
			e := gpb.Encoding(n)
			_, err := c.Get(c.ctx(), &gpb.GetRequest{Encoding: e, Path: paths(r1)})
			s := c.open(request(func(l *gpb.SubscriptionList) { once(l); l.Encoding = e }, onChange(r1)...))
			if slices.Contains(listed, e) {
				c.must(err)
				s.sync()
				s.ends(codes.OK)
				continue
			}
			c.refused(err, codes.Unimplemented, name)
			s.ends(codes.Unimplemented, name)
		}
	})

	// It needs no other call before it, is the same over TCP and the unix socket, and quick under load.
	tg.rule(t, "G04", func(c *client) {
		over := tg.tcp(c.t, "127.0.0.1:9339").capabilities()
		if diff := cmp.Diff(c.other().capabilities(), over, protocmp.Transform()); diff != "" {
			c.t.Errorf("unix and TCP (-unix +tcp):\n%s", diff)
		}
		ctx, cancel := context.WithCancel(c.t.Context())
		var wg sync.WaitGroup
		for range 8 {
			busy := c.other()
			wg.Go(func() {
				for ctx.Err() == nil {
					_, _ = busy.Get(ctx, &gpb.GetRequest{Path: paths("/")}) // the end of the context ends it
				}
			})
		}
		defer wg.Wait()
		defer cancel()
		for range 20 {
			begin := time.Now()
			c.capabilities()
			if d := time.Since(begin); d > time.Second {
				c.t.Errorf("answered after %v under load", d)
			}
		}
	})

	// Reflection in both versions, and health.
	tg.rule(t, "G05", func(c *client) {
		now, err := reflectionpb.NewServerReflectionClient(tg.conn).ServerReflectionInfo(c.ctx())
		c.must(err)
		c.must(now.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}))
		r, err := now.Recv()
		c.must(err)
		for version, services := range map[string]string{"v1": r.String(), "v1alpha": c.oldReflection()} {
			if !strings.Contains(services, `"gnmi.gNMI"`) {
				c.t.Errorf("reflection %s lists %s", version, services)
			}
		}
		for _, service := range []string{"", "gnmi.gNMI"} {
			h, err := healthpb.NewHealthClient(tg.conn).Check(c.ctx(), &healthpb.HealthCheckRequest{Service: service})
			if err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
				c.t.Errorf("health of %q: %v, %v", service, h, err)
			}
		}
	})
}

func (c *client) capabilities() *gpb.CapabilityResponse {
	c.t.Helper()
	resp, err := c.Capabilities(c.ctx(), &gpb.CapabilityRequest{})
	c.must(err)
	return resp
}

// yangModels reads "NAME ORGANIZATION VERSION" of each module from its text.
func yangModels(t *testing.T) (all []string) {
	t.Helper()
	files, err := filepath.Glob("../../yang/*.yang")
	if err != nil || len(files) < 10 {
		t.Fatalf("modules: %v, %v", files, err)
	}
	field := func(file []byte, pattern string) string {
		m := regexp.MustCompile(pattern).FindSubmatch(file)
		if m == nil {
			t.Fatalf("no %s in %.40s", pattern, file)
		}
		return string(m[1])
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, field(b, `(?m)^module (\S+)`)+" "+field(b, `(?m)^\s*organization\s+"([^"]+)"`)+" "+
			field(b, `(?m)^\s*mcr-ext:openconfig-version\s+"([^"]+)"`))
	}
	slices.Sort(all)
	return all
}

// watchHealth follows the health of the gNMI service; what it returns waits for the end and says what was told last.
func (c *client) watchHealth() (last func() string) {
	c.t.Helper()
	w, err := healthpb.NewHealthClient(c.tg.conn).Watch(c.t.Context(), &healthpb.HealthCheckRequest{Service: "gnmi.gNMI"})
	c.must(err)
	first, err := w.Recv()
	c.must(err)
	if first.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		c.t.Errorf("health begins with %v", first.GetStatus())
	}
	said := make(chan string, 1)
	go func() {
		status := first.GetStatus()
		for {
			m, err := w.Recv()
			if err != nil {
				said <- status.String()
				return
			}
			status = m.GetStatus()
		}
	}()
	return func() string { return <-said }
}
