// SPDX-License-Identifier: Apache-2.0

// Package afpacket looks at packets before the kernel's UDP sockets do.
//
//	frame ── Parse ──┬─ Whole: source, port, TTL, TOS, payload, segment size
//	                 ├─ Fragment ── Reassembler ── Whole
//	                 └─ a verdict: not ours, damaged, or of unknown segment size
//
// Open makes a packet socket that feeds a receive point, or a port learner: for streams that the kernel's reverse-path filter
// would drop, whose address another socket holds, or whose port is not known. It sees what UDP would, less what UDP does: so
// headers and checksums are verified and fragments joined here. It does not see what this host sends itself, and sees what the
// host's firewall drops.
//
// Stray answers one question of an operator: the rule names eth0 and nothing comes; does the stream arrive somewhere
// else? It sees headers only, of a few groups, on a socket whose queue is small: on a busy host it costs a classic BPF
// filter per packet and no more. It never feeds forwarding.
//
// Nothing here knows of tables, workers or engines. Kernel files followed: net/packet/af_packet.c, include/linux/virtio_net.h,
// net/ipv4/ip_input.c, net/ipv4/udp.c.
package afpacket
