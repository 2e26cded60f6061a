#!/usr/bin/env bash
# 1,000 half-open connections, as many slow requests over HTTP, handshakes without end and 100,000 forged datagrams a
# second: a pair that plays does not notice, memory is bounded, and all is counted.
# limit: 60
. "$LAB/lib.sh"

keys_heard --here
counters="connections_turned_away connections_without_handshake http_crowded_out datagrams_bad datagrams_unknown_link"
for key in $counters; do declare "before_$key=$(metric b $key)"; done

traffic notes a Keys notes 100 20 4
start_of() { heard far 200; }
eventually 8 "notes flow" start_of
memory_b=$(memory b) cpu=$(cpu b) most=0 held=0
from=$(clock_us)
start siege python3 "$LAB/tools/siege.py" "$(field b tcp)" "$(field b http | sed 's/.*://')" 10
start flood "$(dirname "$NETLAB")/examples/flood" "$(field b udp)" 10 100000
slowest=0
for _ in $(seq 1 9); do
  sleep 1
  began=$(now)
  get b /node/info >"$OUT/info.json" || fail "the HTTP interface does not answer"
  took=$(since "$began")
  slowest=$(python3 -c "print(max($slowest, $took))")
  now_has=$(memory b)
  [ "$now_has" -gt "$most" ] && most=$now_has
  now_has=$(descriptors b)
  [ "$now_has" -gt "$held" ] && held=$now_has
done
finish siege 20 || fail "the siege: $(cat "$OUT/siege.err")"
finish flood 20 || fail "the flood: $(cat "$OUT/flood.err")"
to=$(clock_us)
cat "$OUT/siege.out" "$OUT/flood.out"
say "b used $((($(cpu b) - cpu) * 100 / ((to - from) / 1000))) % of a core meanwhile, had $held descriptors at most, and answered over HTTP within $slowest s"
finish notes 30 || fail "the notes: $(cat "$OUT/notes.err")"
sleep 0.5
for when in "before 0 $from" "meanwhile $from $to"; do
  read -r name start end <<<"$when"
  row=$(python3 "$LAB/tools/delays.py" --from "$start" --to "$end" 0 "$OUT/near.out" "$OUT/far.out")
  say "$name: $row"
  equal "notes that were not played $name" 0 "$(json missing <<<"$row")"
done
within "p99 of the notes in the siege, in ms" 0 "$(json p99 <<<"$row")" 5
equal "what differs" "the same" "$(python3 "$LAB/tools/device.py" same "$OUT/near.out" "$OUT/far.out")"
within "kB by which b grew at most" -20000 $((most - memory_b)) 40000
within "descriptors of b at most" 0 "$held" 900
within "seconds that HTTP took at most" 0 "$slowest" 2
for key in $counters; do
  before=before_$key
  within "$key more" 1 $(($(metric b $key) - ${!before})) 10000000
done
check "a and b were linked all the time" sh -c "! grep -q 'ended' '$OUT/a.err' '$OUT/b.err'"

say "--- and others still come"
node c --no-discovery --peer "127.0.0.1:$(field b tcp)"
linked c b
