// SPDX-License-Identifier: Apache-2.0

// Package access says who a caller is and what it may do: users, passwords, roles by path, and the TLS side of it.
//
//	STATE-DIR/users ──► Users ──┐
//	                            ├──► Access.Admit(connection, login) ──► Caller ──► Rights.Allows(path, Read | Write)
//	certificate, key, CA ──► TLS┘                                          name, role
//
// A user has one role, and perhaps a password; without one it comes with a certificate or over the unix socket. A role is a
// list of path prefixes with what they grant: none, read, or write, which includes read. The longest prefix wins; where no
// prefix fits, nothing is granted. The roles admin (write /) and viewer (read /) are built in.
//
// Who a caller is: the username and password that it sends, if it does; else the name of its certificate that is a user's (SAN
// URI, SAN DNS, then CN); else, where the connection is trusted by itself (the unix socket, plaintext on loopback that was
// asked for), the name that the connection gives, which is an admin unless the users file has it.
//
// All files are read again every ten seconds and by Reload. One that is broken changes nothing and is logged once. An Access is
// safe for use by any goroutine. Passwords are kept as bcrypt hashes, checked one at a time, and never logged; failures are
// limited for each address.
package access
