// SPDX-License-Identifier: Apache-2.0

// Package afpacket looks at packets before the kernel's UDP sockets do.
//
// Stray answers one question of an operator: the rule names eth0 and nothing comes; does the stream arrive somewhere
// else? It sees headers only, of a few groups, on a socket whose queue is small: on a busy host it costs a classic BPF
// filter per packet and no more. It never feeds forwarding.
package afpacket
