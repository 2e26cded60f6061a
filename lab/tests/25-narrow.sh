#!/usr/bin/env bash
# A link of 64 kbit/s is offered 1,000 events/s: notes still arrive, controllers thin out, the end is the
# same on both sides; and on a good network the link is as before.
# limit: 90
. "$LAB/lib.sh"

keys_heard
# report KIND FROM TO: of `notes` or all messages, of those that were played between two moments.
report() {
  for end in near far; do
    grep -E "$([ "$1" = notes ] && echo '"note(On|Off)"' || echo type)" "$OUT/$end.out" >"$OUT/$end-$1.jsonl"
  done
  python3 "$LAB/tools/delays.py" --from "$2" --to "$3" 5 "$OUT/near-$1.jsonl" "$OUT/far-$1.jsonl"
}

"$NETLAB" impair a b --delay 5ms --rate 64kbit --queue 1s
"$NETLAB" reset-stats
from=$(clock_us)
traffic sweeps a Keys sweeps 1000 15
finish sweeps 60 || fail "the sweeps: $(cat "$OUT/sweeps.err")"
to=$(clock_us)
say "offered: $(cat "$OUT/sweeps.out"); through the network: $("$NETLAB" stats | awk '$1 == "a" && $2 == "b" {print $10 " frames, " $6 " dropped at the queue, of " $4 " bytes"}')"
eventually 5 "both sides agree in the end" agree
# Until the sender has found out what the link carries, the queue of a second fills, and delays all.
learnt=$((from + 4000000))
learning=$(report notes "$from" "$learnt")
notes=$(report notes "$learnt" "$to")
all=$(report all "$from" "$to")
say "notes of the first 4 s: $learning"
say "notes from then on: $notes"
say "all events: $all"
say "b counted: $(for key in events_received superseded late_dropped given_up snapshots_taken; do echo "$key $(link_of b a $key)"; done | paste -sd' ')"
equal "notes that hang" 0 "$(json stuck <<<"$notes")"
offered=$(json seconds <"$OUT/sweeps.out")
within "seconds in which 15,000 events were taken" 14.9 "$offered" 17
within "note-ons of the first 4 s that came too late to be played, of $(json note_ons <<<"$learning")" 0 "$(json note_ons_missing <<<"$learning")" 6
equal "note-ons from then on that were not played, of $(json note_ons <<<"$notes")" 0 "$(json note_ons_missing <<<"$notes")"
# A datagram with eight controllers, a bend and a note takes 30 ms to leave such a link.
within "median ms of a note beyond the network's 5" 0 "$(json p50 <<<"$notes")" 100
within "p99 in ms of a note" 0 "$(json p99 <<<"$notes")" 300
within "of $(json sent <<<"$all") events played (controllers thin out)" 400 "$(json played <<<"$all")" 12000

say "--- a good network again"
"$NETLAB" impair a b --delay 5ms
sleep 2
from=$(clock_us)
traffic after a Keys notes 100 9 4
finish after 30 || fail "the notes: $(cat "$OUT/after.err")"
sleep 0.5
found=$((from + 4000000))
say "notes of the first 4 s: $(report notes "$from" "$found")"
notes=$(report notes "$found" "$(clock_us)")
say "notes from then on: $notes"
equal "notes that were not played" 0 "$(json missing <<<"$notes")"
within "p99 in ms of a note" 0 "$(json p99 <<<"$notes")" 5
equal "what differs" "the same" "$(agree)"
check "a and b were linked all the time" sh -c "! grep -q 'ended' '$OUT/a.err' '$OUT/b.err'"
