#!/usr/bin/env bash
# The network that other tests stand on: delay, loss, the seed, the cut and multicast do what they say.
# limit: 40
. "$LAB/lib.sh"
probe=$(dirname "$NETLAB")/examples/probe
network 3

# flow COUNT GAP_US: a to b; the receiver's report.
flow() {
  start recv "$NETLAB" exec b -- "$probe" recv 5001 $(($1 * $2 / 1000000 + 1))
  sleep 0.2
  "$NETLAB" exec a -- "$probe" send 10.77.0.2 5001 "$1" "$2"
  finish recv 5 || fail "the receiver"
  cat "$OUT/recv.out"
}
# The switch's own count: the receiver cannot see a loss after the last frame that arrived.
lost() { flow 2000 400 >/dev/null && "$NETLAB" stats | awk '$1 == "a" && $2 == "b" { print $5 }'; }
median_us() { flow 300 1000 | sed -n 's/.* p50 \([0-9.]*\) .*/\1/p'; }

within "median delay of an open link, in us" 0 "$(median_us)" 2000
"$NETLAB" impair a b --delay 20ms
within "median delay of a link with 20 ms, in us" 20000 "$(median_us)" 22000

"$NETLAB" impair a b --loss 10% --burst 3 --seed 7
first=$(lost)
within "frames of 2,000 lost at 10 %" 120 "$first" 290
"$NETLAB" impair a b --loss 10% --burst 3 --seed 7
equal "the same seed loses the same" "$first" "$(lost)"

"$NETLAB" impair a b --down
flow 50 1000 >"$OUT/cut.txt"
check "nothing passes a cut link" grep -q 'one-way: none' "$OUT/cut.txt"
"$NETLAB" clear

start heard "$NETLAB" exec c -- python3 "$LAB/netlab/mcast.py" recv 224.0.0.251 5353 2
sleep 0.5
"$NETLAB" exec a -- python3 "$LAB/netlab/mcast.py" send 224.0.0.251 5353
finish heard 5
check "multicast reaches the third node" grep -q "10.77.0.1" "$OUT/heard.out"
