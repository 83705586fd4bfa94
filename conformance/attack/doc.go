// Command attack attacks the parley binary as hostile clients would, and checks that only they feel
// it.
//
//	go run ./conformance/attack                 all attacks, each followed by its negative control, if it has one
//	go run ./conformance/attack -list           what there is
//	go run ./conformance/attack -run '^pongs'   the attacks whose names match
//	go run ./conformance/attack -perf           how much slower the server answers others meanwhile
//
// Three processes take part in each attack. The server is the binary with its defaults, apart from
// the flags of the attack. The attacker runs at the lowest priority, so that it does not take
// processor time from the others. This process is the probe: good clients over several transports
// that call events, send messages, receive those of the others, and newcomers that connect and join.
//
// The bounds are counts, and they hold on a machine of any speed. The attack goes on until each good
// client had a number of answers. If that does not happen within a generous time, the attack has
// starved it. Nothing that was due may be missing afterwards. What the attacker could make the server
// take is compared with its budget for the time that passed. Times are checked with -perf only, as
// ratios.
//
// A check that cannot fail proves nothing. So if a setting switches a defence off, the attack names
// it. The attack is repeated with it, and the named bound must then be broken.
//
// It needs Linux, whose /proc tells how much memory the server used.
package main
