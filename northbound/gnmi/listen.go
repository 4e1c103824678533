// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Group is the group that may use the unix socket, if it exists.
const Group = "mcr"

// errNoTLS is a fault of whoever put the parts together.
var errNoTLS = errors.New("a listener for TLS, and no certificate")

// Listen opens unix:///PATH or HOST:PORT in plaintext. TCP needs insecure, and then a loopback address.
func Listen(address string, insecure bool) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("listen on %s: the path of a unix socket must be absolute, as in unix:///run/mcr/mcrd.sock", address)
		}
		return listenUnix(path)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: neither unix:///PATH nor HOST:PORT: %w", address, err)
	}
	ip, err := loopback(host)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	if !insecure {
		return nil, fmt.Errorf("listen on %s: TCP needs --tls-cert and --tls-key, or --insecure on loopback", address)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(ip.String(), port))
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// ListenTLS opens HOST:PORT for TLS; the certificates are those of the server's Access.
func ListenTLS(address string) (net.Listener, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("listen on %s: neither unix:///PATH nor HOST:PORT: %w", address, err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return securedListener{l}, nil
}

// securedListener is not served without TLS. Its connections are *net.TCPConn, of which gRPC can ask that a silent peer is
// found while data waits (TCP_USER_TIMEOUT).
type securedListener struct{ net.Listener }

// loopback returns the address of a host that is this machine alone.
func loopback(host string) (netip.Addr, error) {
	if host == "localhost" {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.IsLoopback() {
		return netip.Addr{}, errors.New("without TLS only a loopback address such as 127.0.0.1 is allowed")
	}
	return ip, nil
}

// listenUnix makes the socket under another name, gives it mode and group, and only then its name: nobody ever finds it with
// other rights, and one that a dead process left is replaced in the same step.
func listenUnix(path string) (net.Listener, error) {
	if err := checkSocket(path); err != nil {
		return nil, fmt.Errorf("listen on unix://%s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("listen on unix://%s: %w", path, err)
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen on unix://%s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: tmp, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on unix://%s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := publish(tmp, path); err != nil {
		return nil, fmt.Errorf("listen on unix://%s: %w", path, errors.Join(err, l.Close(), os.Remove(tmp)))
	}
	made, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("listen on unix://%s: %w", path, errors.Join(err, l.Close()))
	}
	return &socket{UnixListener: l, path: path, made: made}, nil
}

// publish sets the rights of the socket and gives it its name.
func publish(tmp, path string) error {
	if err := os.Chmod(tmp, 0o660); err != nil {
		return err
	}
	if g, err := user.LookupGroup(Group); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil {
			_ = os.Chown(tmp, -1, gid) // without the right to do so our own group stays
		}
	}
	return os.Rename(tmp, path)
}

// checkSocket refuses a path at which somebody listens, or at which there is no socket.
func checkSocket(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return errors.New("a file that is no socket is in the way")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close()
		return errors.New("another process listens there")
	}
	return nil
}

// socket takes its name away when it closes, unless it is another's by now.
type socket struct {
	*net.UnixListener
	path string
	made os.FileInfo
}

func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

func (s *socket) Close() error {
	if fi, err := os.Lstat(s.path); err == nil && os.SameFile(fi, s.made) {
		_ = os.Remove(s.path)
	}
	return s.UnixListener.Close()
}
