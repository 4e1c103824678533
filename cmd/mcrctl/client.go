// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"golang.org/x/term"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	mcrv1 "mcr/northbound/operations/mcr/v1"
)

// maxMessage bounds one answer; a whole tree with 10,000 outputs takes some 20 MiB.
const maxMessage = 1 << 30

// dialOptions say where mcrd is and who asks.
type dialOptions struct {
	Address            string
	Insecure           bool
	CA, Cert, Key      string
	User, PasswordFile string
}

// client is a connection to mcrd. It is made without waiting: that nobody answers shows at the first call.
type client struct {
	conn    *grpc.ClientConn
	gnmi    gpb.GNMIClient
	ops     mcrv1.OperationsClient
	timeout time.Duration // of one call but Subscribe; 0: none
}

// update is one value of an answer.
type update struct {
	Path *gpb.Path       // absolute
	JSON json.RawMessage // RFC 7951
	Time time.Time       // of the snapshot
}

func dial(o dialOptions) (*client, error) {
	creds, local, err := transport(o)
	if err != nil {
		return nil, err
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithUserAgent("mcrctl/" + version),
		grpc.WithNoProxy(),
	}
	if o.PasswordFile != "" && o.User == "" {
		return nil, errors.New("--password-file is of no use without --user")
	}
	if o.User != "" {
		password, err := o.password()
		if err != nil {
			return nil, fmt.Errorf("password of --user %s: %w", o.User, err)
		}
		opts = append(opts, grpc.WithPerRPCCredentials(login{
			user: o.User, password: password, plain: local || o.Insecure,
		}))
	}
	conn, err := grpc.NewClient(o.Address, opts...)
	if err != nil {
		return nil, fmt.Errorf("address %s: %w", o.Address, err)
	}
	return &client{conn: conn, gnmi: gpb.NewGNMIClient(conn), ops: mcrv1.NewOperationsClient(conn)}, nil
}

// password reads the password from its file, else from the terminal.
func (o dialOptions) password() (string, error) {
	if o.PasswordFile != "" {
		text, err := os.ReadFile(o.PasswordFile)
		return strings.TrimRight(string(text), "\r\n"), err
	}
	stdin := int(os.Stdin.Fd())
	if !term.IsTerminal(stdin) {
		return "", errors.New("--password-file says where it is; without one it is asked for at a terminal alone")
	}
	fmt.Fprintf(os.Stderr, "Password of %s: ", o.User)
	text, err := term.ReadPassword(stdin)
	fmt.Fprintln(os.Stderr)
	return string(text), err
}

// transport chooses the credentials; local says that it is a unix socket, which needs no TLS.
func transport(o dialOptions) (creds credentials.TransportCredentials, local bool, err error) {
	if strings.HasPrefix(o.Address, "unix:") {
		return insecure.NewCredentials(), true, nil
	}
	if o.Insecure {
		return insecure.NewCredentials(), false, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, false, fmt.Errorf("--tls-ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, false, fmt.Errorf("--tls-ca %s: no certificate in it", o.CA)
		}
	}
	if o.Cert != "" || o.Key != "" {
		cert, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, false, fmt.Errorf("--tls-cert and --tls-key: %w", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return credentials.NewTLS(conf), false, nil
}

// login is the user and password of each call.
type login struct {
	user, password string
	plain          bool // the connection needs no TLS
}

func (l login) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"username": l.user, "password": l.password}, nil
}

func (l login) RequireTransportSecurity() bool { return !l.plain }

func (c *client) close() { _ = c.conn.Close() }

func (c *client) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.timeout)
}

// get reads one path, which may have wildcards. A path without wildcard that has no data is NotFound.
func (c *client) get(ctx context.Context, kind gpb.GetRequest_DataType, path *gpb.Path) ([]update, error) {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	answer, err := c.gnmi.Get(ctx, &gpb.GetRequest{Path: []*gpb.Path{path}, Type: kind, Encoding: gpb.Encoding_JSON_IETF})
	if err != nil {
		return nil, err
	}
	var all []update
	for _, n := range answer.GetNotification() {
		us, err := updates(n)
		if err != nil {
			return nil, err
		}
		all = append(all, us...)
	}
	return all, nil
}

// list is get where nothing there is an empty answer, and without module names in the values.
func (c *client) list(ctx context.Context, kind gpb.GetRequest_DataType, path *gpb.Path) ([]update, error) {
	all, err := c.get(ctx, kind, path)
	if isNotFound(err) {
		return nil, nil
	}
	for i := range all {
		if all[i].JSON, err = stripModules(all[i].JSON); err != nil {
			return nil, fmt.Errorf("answer for %s: %w", pathString(all[i].Path), err)
		}
	}
	return all, err
}

// set sends one request; the answer of a Set says nothing that the request did not.
func (c *client) set(ctx context.Context, req *gpb.SetRequest) error {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	_, err := c.gnmi.Set(ctx, req)
	return err
}

// updates reads the values of a notification, with absolute paths.
func updates(n *gpb.Notification) ([]update, error) {
	all := make([]update, 0, len(n.GetUpdate()))
	for _, u := range n.GetUpdate() {
		raw, err := valueJSON(u.GetVal())
		path := join(n.GetPrefix(), u.GetPath())
		if err != nil {
			return nil, fmt.Errorf("answer for %s: %w", pathString(path), err)
		}
		all = append(all, update{Path: path, JSON: raw, Time: time.Unix(0, n.GetTimestamp())})
	}
	return all, nil
}

// join is the absolute path of p below prefix.
func join(prefix, p *gpb.Path) *gpb.Path {
	if len(prefix.GetElem()) == 0 {
		return p
	}
	elems := append([]*gpb.PathElem(nil), prefix.GetElem()...)
	return &gpb.Path{Elem: append(elems, p.GetElem()...)}
}

// valueJSON turns any value a server may send into JSON.
func valueJSON(v *gpb.TypedValue) (json.RawMessage, error) {
	switch v := v.GetValue().(type) {
	case *gpb.TypedValue_JsonIetfVal:
		return v.JsonIetfVal, nil
	case *gpb.TypedValue_JsonVal:
		return v.JsonVal, nil
	case *gpb.TypedValue_StringVal:
		return json.Marshal(v.StringVal)
	case *gpb.TypedValue_AsciiVal:
		return json.Marshal(v.AsciiVal)
	case *gpb.TypedValue_UintVal:
		return json.Marshal(v.UintVal)
	case *gpb.TypedValue_IntVal:
		return json.Marshal(v.IntVal)
	case *gpb.TypedValue_BoolVal:
		return json.Marshal(v.BoolVal)
	case *gpb.TypedValue_DoubleVal:
		return json.Marshal(v.DoubleVal)
	case *gpb.TypedValue_LeaflistVal:
		all := []json.RawMessage{}
		for _, e := range v.LeaflistVal.GetElement() {
			raw, err := valueJSON(e)
			if err != nil {
				return nil, err
			}
			all = append(all, raw)
		}
		return json.Marshal(all)
	}
	return nil, errors.New("a value of a kind that mcrctl does not know")
}

// stripModules takes the module name off every member name of a JSON text: RFC 7951 writes it where the module changes,
// and no two modules here have members of the same name in one object.
func stripModules(text []byte) (json.RawMessage, error) {
	if !json.Valid(text) {
		return nil, errors.New("not JSON")
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		if text[i] != '"' {
			out = append(out, text[i])
			i++
			continue
		}
		end := i + 1
		for text[end] != '"' {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		end++
		name := text[i:end]
		if rest := bytes.TrimLeft(text[end:], " \t\r\n"); len(rest) > 0 && rest[0] == ':' {
			if colon := bytes.IndexByte(name, ':'); colon >= 0 {
				name = append([]byte{'"'}, name[colon+1:]...)
			}
		}
		out = append(out, name...)
		i = end
	}
	return out, nil
}
