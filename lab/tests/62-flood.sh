#!/usr/bin/env bash
# Ten seconds of 100,000 datagrams a second, replayed, forged and random, onto a pair that plays: its notes
# keep flowing, none is lost, memory does not grow, and all is counted.
# limit: 60
. "$LAB/lib.sh"

keys_heard --here
counters="datagrams_bad datagrams_unknown_link"
counted() { local n=0 key; for key in $counters; do n=$((n + $(metric b "$key"))); done; echo $n; }

traffic notes a Keys notes 100 20 4
start_of() { heard far 300; }
eventually 8 "notes flow" start_of
for name in a b; do declare "memory_$name=$(memory $name)"; done
before=$(counted) cpu=$(cpu b)
datagrams=$(link_of b a datagrams_received)
from=$(clock_us)
start flood "$(dirname "$NETLAB")/examples/flood" "$(field b udp)" 10 100000
finish flood 20 || fail "the flood: $(cat "$OUT/flood.err")"
to=$(clock_us)
cat "$OUT/flood.out"
cpu=$(($(cpu b) - cpu))
say "b used $((cpu * 100 / ((to - from) / 1000))) % of a core meanwhile, and accepted $(($(link_of b a datagrams_received) - datagrams)) datagrams of its peer"
say "b counted $(($(counted) - before)) as bad or of an unknown link: $(for key in $counters; do echo "$key $(metric b "$key")"; done | paste -sd' ')"
finish notes 30 || fail "the notes: $(cat "$OUT/notes.err")"
sleep 0.5
for when in "before 0 $from" "meanwhile $from $to" "afterwards $to $(clock_us)"; do
  read -r name start end <<<"$when"
  row=$(python3 "$LAB/tools/delays.py" --from "$start" --to "$end" 0 "$OUT/near.out" "$OUT/far.out")
  say "$name: $row"
  equal "notes that were not played $name" 0 "$(json missing <<<"$row")"
  [ "$name" = meanwhile ] && p99=$(json p99 <<<"$row")
done
rate=$(sed -n 's/.* s, \([0-9]*\) a second/\1/p' "$OUT/flood.out")
within "datagrams a second (of 100,000)" 90000 "$rate" 110000
# A datagram that finds the socket full is lost and comes again: that is the worst that may be.
within "p99 of the notes in the flood, in ms" 0 "$p99" 20
equal "what differs" "the same" "$(agree)"
for name in a b; do
  grown=memory_$name
  within "kB by which $name grew" -20000 $(($(memory $name) - ${!grown})) 4000
done
# What finds the socket full is dropped by the system.
check "the flood was counted" test "$(($(counted) - before))" -gt 800000
equal "b thinks that a moved so often" 0 "$(link_of b a address_moves)"
check "a and b were linked all the time" sh -c "! grep -q 'ended' '$OUT/a.err' '$OUT/b.err'"
