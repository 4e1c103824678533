// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
)

// originOrder are the places that endpoints come from, the best first.
var originOrder = []string{
	"configured", "peer-address", "subnet-peer", "pim-neighbor", "igmp-reporter", "wireguard-peer", "outer-remote",
}

// originWords say what an endpoint is.
var originWords = map[string]string{
	"configured":     "it is configured",
	"peer-address":   "the peer of an address of the interface",
	"subnet-peer":    "the other host of the interface's /31 or /30",
	"pim-neighbor":   "a PIM neighbor",
	"igmp-reporter":  "a host that reported by IGMP",
	"wireguard-peer": "a /32 of a WireGuard peer",
	"outer-remote":   "the tunnel's outer remote",
}

// usedWords say more of an endpoint that is used.
var usedWords = map[string]string{
	"wireguard-peer": "the only /32 of the only WireGuard peer",
	"outer-remote":   "the tunnel's outer remote, reached inside the tunnel",
}

// passedOverWords say why a candidate is not used.
var passedOverWords = map[string]string{
	"outranked":         "a better one is known",
	"other-neighbor":    "it serves another neighbor alone",
	"several-endpoints": "several are configured, so they serve static outputs only",
	"several-peers":     "WireGuard has more than one peer",
	"several-hosts":     "the WireGuard peer has more than one /32",
	"multicast-remote":  "it is a group",
	"own-address":       "it is an address of this host",
	"route-elsewhere":   "the route to it leaves by another interface",
}

// word explains a value; one that came later stands for itself.
func word(words map[string]string, value string) string { return cmp.Or(words[value], value) }

// usedWord explains the origin of an endpoint that is used.
func usedWord(origin string) string { return cmp.Or(usedWords[origin], word(originWords, origin)) }

// unresolved says why no endpoint of an interface is known.
func unresolved(iface, reason string) string {
	switch reason {
	case "interface-missing":
		return fmt.Sprintf("interface %s does not exist", iface)
	case "no-peer-information":
		return fmt.Sprintf("neither a peer address, nor a /31 or /30, nor a remote of %s names the other end; configure an endpoint", iface)
	case "multipoint":
		return fmt.Sprintf("%s has no fixed remote, so anybody may be behind it; configure endpoints", iface)
	case "collect-metadata":
		return fmt.Sprintf("%s chooses its remote per packet; configure endpoints", iface)
	case "several-peers":
		return fmt.Sprintf("%s has several WireGuard peers; configure an endpoint for each that is to get copies", iface)
	case "no-host-allowed-ip":
		return fmt.Sprintf("the WireGuard peer of %s may use more than one host address, or none; configure the one to send to", iface)
	case "several-endpoints":
		return fmt.Sprintf("several endpoints are configured for %s, and none for this neighbor", iface)
	case "multicast-remote":
		return fmt.Sprintf("the remote of %s is a group", iface)
	}
	return fmt.Sprintf("no unicast endpoint is known on %s", iface)
}
