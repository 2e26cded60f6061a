#!/usr/bin/env bash
# A peer's address moves while it plays: a NAT gives its datagrams another port, then the machine gets
# another address. Notes go on.
# limit: 60
. "$LAB/lib.sh"

keys_heard
# judged WHAT FROM MISSING P99: of the notes since FROM.
judged() {
  local row
  # What was given in the last half second may be under way.
  row=$(python3 "$LAB/tools/delays.py" --from "$2" --to $(($(clock_us) - 500000)) 0 "$OUT/near.out" "$OUT/far.out")
  say "$1: $row"
  within "$1: notes that were not played" 0 "$(json note_ons_missing <<<"$row")" "$3"
  within "$1: p99 in ms" 0 "$(json p99 <<<"$row")" "$4"
}
moves() { link_of b a address_moves; }
moved_on() { [ "$(moves)" -gt "$before" ]; }

traffic notes a Keys notes 50 15 4
flowing() { heard far 50; }
eventually 5 "notes flow" flowing
for shift in 1000 2000 off; do
  say "--- a's NAT maps its datagrams to other ports ($shift)"
  before=$(moves)
  from=$(clock_us)
  "$NETLAB" nat a $shift
  eventually 3 "b follows" moved_on
  sleep 2
  # One new datagram from the new address is enough: what b sends reaches a again.
  judged "since then" "$from" 0 30
  equal "and datagrams still carry the notes" "datagrams datagrams" "$(link_of a b path) $(link_of b a path)"
done

finish notes 40 || fail "the notes: $(cat "$OUT/notes.err")"

say "--- a's machine gets another address"
traffic more a Keys notes 50 8 3
again() { heard far $((seen + 50)); }
seen=$(grep -c type "$OUT/far.out")
eventually 5 "notes flow" again
from=$(clock_us)
# Without this the new address would go with the old one, whose subnet it is in.
"$NETLAB" exec a -- sh -c 'echo 1 >/proc/sys/net/ipv4/conf/eth0/promote_secondaries'
"$NETLAB" exec a -- ip addr add 10.77.0.101/24 brd + dev eth0
"$NETLAB" exec a -- ip addr del 10.77.0.1/24 dev eth0
sleep 5
judged "since then" "$from" 0 60
say "b says of a: $(link_of b a state), at $(link_of b a address), by $(link_of b a path), $(moves) moves"
finish more 40 || fail "the notes: $(cat "$OUT/more.err")"
eventually 10 "nothing hangs, both sides agree" agree
