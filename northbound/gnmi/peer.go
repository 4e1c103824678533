// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"net"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
)

// peerOf returns who calls, as far as the connection tells.
func peerOf(ctx context.Context) client {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return client{}
	}
	c := client{address: p.Addr.String()}
	if info, ok := p.AuthInfo.(peerInfo); ok {
		c.user, c.pid = info.user, info.pid
		if info.pid != 0 {
			c.address = "unix"
		}
	}
	return c
}

// peerInfo is what the kernel says about the other end of a unix socket.
type peerInfo struct {
	credentials.CommonAuthInfo
	user string
	pid  int32
}

// AuthType names the kind of information.
func (peerInfo) AuthType() string { return "unix peer" }

// peerCredentials takes plaintext connections and asks the kernel who is at the other end.
type peerCredentials struct{}

func (peerCredentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	info := peerInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return c, info, nil
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	var cred *unix.Ucred
	var credErr error
	// SO_PEERCRED, unix(7): the credentials at the time of connect.
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return nil, nil, err
	}
	if credErr != nil {
		return nil, nil, credErr
	}
	info.pid, info.user = cred.Pid, strconv.Itoa(int(cred.Uid))
	if named, err := user.LookupId(info.user); err == nil {
		info.user = named.Username
	}
	info.SecurityLevel = credentials.PrivacyAndIntegrity
	return c, info, nil
}

func (peerCredentials) ClientHandshake(ctx context.Context, name string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return insecure.NewCredentials().ClientHandshake(ctx, name, c)
}

func (peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
}
func (p peerCredentials) Clone() credentials.TransportCredentials { return p }
func (peerCredentials) OverrideServerName(string) error           { return nil }
