// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"log/slog"
	"strings"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc/status"
)

// maxAudited bounds the paths in an audit line.
const maxAudited = 20

// audit writes who changed what, without values (G126).
func (s *Server) audit(ctx context.Context, req *gpb.SetRequest, who client, revision uint64, err error) {
	var paths []string
	for op := range operationsOf(req) {
		if len(paths) == maxAudited {
			break
		}
		paths = append(paths, op.kind.String()+" "+clip(fullPath(req.GetPrefix(), op.path), maxFault))
	}
	attrs := []slog.Attr{
		slog.String("user", who.user), slog.String("address", who.address), slog.String("paths", strings.Join(paths, ", ")),
		slog.Int("operations", operationCount(req)),
	}
	if who.pid != 0 {
		attrs = append(attrs, slog.Int("pid", int(who.pid)))
	}
	if x, bad := readExtensions("Set", req.GetExtension()); bad == nil && x.commit != nil {
		attrs = append(attrs, slog.String("commit", string(x.commit.action)), slog.String("commit-id", x.commit.id))
	}
	if err != nil {
		st := status.Convert(err)
		attrs = append(attrs, slog.String("code", st.Code().String()), slog.String("err", st.Message()))
		s.log.LogAttrs(ctx, slog.LevelInfo, "set refused", attrs...)
		return
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "set", append(attrs, slog.Uint64("revision", revision))...)
}
