// SPDX-License-Identifier: Apache-2.0

// Package lab makes network topologies for tests and demonstrations: the one place that does.
//
//	l := lab.New(t)                                   src              rtr              dst
//	src, rtr := l.Host("src"), l.Host("rtr")          eth0 ─────────── eth0
//	l.Link(src, "eth0", "10.0.1.1/24",                10.0.1.1/24      10.0.1.2/24
//	       rtr, "eth0", "10.0.1.2/24")
//	d := rtr.MCRD(lab.MCRDConfig{Config: `{rules: […]}`})
//	sink := dst.Sink("10.0.2.2:5000")
//	src.Send(lab.Stream{Iface: "eth0", Group: "239.1.1.1", Port: 5000, Count: 100, Rate: 1000})
//	sink.Exactly(100)
//
// A host is a network namespace without a name, held open by a descriptor of this process. Names inside it are its own, so
// any number of labs run at once; and when this process dies, however it dies, the kernel takes namespaces, links and
// processes away. Root is needed.
//
// A method that cannot do what it was asked ends the test with Fatalf, so call it from the test's goroutine. What a host starts ends with
// the test: processes with SIGTERM, then SIGKILL, to the whole group. CheckLeaks proves it.
//
// A socket stays in the namespace it was opened in: open it inside Host.Do, use it anywhere.
package lab
