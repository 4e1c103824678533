// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"errors"
	"net/http"
	"net/netip"

	"mcr/northbound/access"
	"mcr/northbound/telemetry"
)

// all is where everything comes from that a scrape shows.
var all = telemetry.Path{{Name: "mcr"}}

// Readers lets in who may read all of /mcr over gNMI, by the same users file: with a client certificate, or with name and password,
// which HTTP calls basic authentication.
func Readers(a *access.Access) func(*http.Request) (status int, why string) {
	return func(r *http.Request) (int, string) {
		c := &access.Connection{Names: access.Names(r.TLS)}
		if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
			c.Address = from.Addr()
		}
		var l access.Login
		l.User, l.Password, _ = r.BasicAuth()
		who, err := a.Admit(r.Context(), c, l)
		switch {
		case errors.Is(err, access.ErrCredentials):
			return http.StatusUnauthorized, err.Error()
		case err != nil:
			return http.StatusTooManyRequests, err.Error()
		}
		if may, _ := who.Rights.Allows(all, access.Read); !may {
			return http.StatusForbidden, "the metrics are for those who may read all of /mcr"
		}
		return http.StatusOK, ""
	}
}
