// SPDX-License-Identifier: Apache-2.0

// Package loop finds out that the copies of a receive point come back to it (F5).
//
//	S ──p──► point ──p──► A's outputs ──► … ──► B's output
//	           ▲                                    │
//	           └────────────────p, from B───────────┘
//
// A relay writes a new source address and port, and a unicast copy begins with a new TTL, so that neither bounds a ring. What
// stays is the payload. A Detector remembers the payloads of a few datagrams a second, as prints: a hash, and the source it
// came from first. Everything below follows from four observations.
//
// Whoever closes a ring hears it. A datagram enters a ring from outside, by a socket that is no part of it, and comes round by
// another. So at the point where it entered the print comes first from one source and then again from another. Points further
// round the ring hear it from one source alone, which tells nothing: senders repeat themselves. They need not know; that a
// ring is cut in one place is enough.
//
// Coming again is no proof. Redundant senders (1+1) and relays send each payload once each; a thousand hosts send the same
// greeting; a carousel, silence in PCM and a heartbeat repeat for ever. So a print is looked at only as far as one other source
// sends it more often than the first one, by suspicion. Redundant senders never get there, unless one of them dies or
// falls silent and what the other says is short, the same each time, and frequent. That one is told apart by its cause.
//
// A copy is caused by what we sent. So a suspected print is withheld: from then on it is not forwarded when it comes from
// another source than the first. What goes round a ring dies of that at once, and with it what was suspected. A sender does not
// care and goes on, and is acquitted as soon as the print comes more often than copies can have been under way. It has lost
// some datagrams, two or three as a rule, or what it says in 20 ms, of a payload that every receiver got some sixteen times in the
// last two seconds; the next test comes a second later at the earliest, then after 2, 4, up to 64.
//
// How long a test takes follows from the gaps between returns, which are long where the machine stalls just then. What the
// other source sends in such a gap does not change with the stall. So a test is over early when that source has sent as much as
// held silence returns before, and none came, and one was due.
//
// Where copies come back faster and faster, each round makes more of them, and queues are soon so full that nobody knows how many are
// under way. What comes beyond them is then no acquittal but a conviction, as long as the first source sent the payload once: no
// sender multiplies, more and more often, what another has said once.
//
// Where the first source repeats itself too, in a ring or not, nobody knows which of its copies it was that came back, and so how
// long a round takes. All copies are withheld, so that it costs nothing to wait until they have drained out of the queues.
//
// A TTL lower than any before, ladderSteps times, for one payload from one source, is what no sender does. It convicts without a
// test. It is what rings of multicast outputs and of unicast inputs look like, and it finds those that the TTL would end. Higher ones
// may come in between: of several ways round, some begin with a new TTL. It may be wrong about a redundant sender of a constant payload
// that is heard, within life, over ladderSteps ways of different lengths, all longer than the first source's.
//
// Three convictions without an acquittal between them are a loop. A print that was convicted stays withheld for as long as it
// is remembered, so that one or two datagrams in a ring end there, and nothing need be taken down for them.
//
// What this does not find: rings that are entered at a relay which does not look; rings of more than 16 parallel ways without
// a falling TTL; rings that take longer than an eighth of life per round. Their growth per second is small or their TTL ends
// them. And whoever may send to a group may feign a loop, as he may send anything else there.
package loop
