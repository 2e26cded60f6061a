#!/usr/bin/env bash
# A pair that plays is flooded with bad datagrams, bad frames and silent connections: nothing is lost,
# the link stays, memory stays, everything is counted; and web pages from elsewhere get nothing.
# limit: 60
# root: no
. "$LAB/lib.sh"

node b --no-discovery
node a --no-discovery --peer "127.0.0.1:$(field b tcp)"
linked a b
listen far b --port Far
eventually 5 "a sees b's port" has_port a "Far @ b" destination
openmsx
"$LAB/tools/smf.py" cut 4 "${openmsx[0]}" "$OUT/cut.mid"
file=$OUT/cut.mid
wanted=$("$LAB/tools/smf.py" count "$file" | cut -d' ' -f1)
# has_descriptors NAME MAX: whether the node has no more open than that.
has_descriptors() { [ "$(descriptors "$1")" -le "$2" ]; }
counters="datagrams_bad datagrams_unknown_link frames_skipped frames_broken"
# One run without anybody else, so that what is measured afterwards is the flood.
at a play --json --to "Far @ b" --speed 4 "$file" >"$OUT/play-warm.json" 2>"$OUT/play.err" || fail "play gave $?"
eventually 5 "all has arrived" heard far "$wanted"

for name in a b; do
  eval "memory_$name=$(memory $name) threads_$name=$(threads $name)"
  for key in $counters; do metric $name "$key"; done >"$OUT/before-$name"
done
start flood-b python3 "$LAB/tools/hostile.py" "$(field b udp)" "$(field b tcp)" "$(field b http | sed 's/.*://')" 5
start flood-a python3 "$LAB/tools/hostile.py" "$(field a udp)" "$(field a tcp)" "$(field a http | sed 's/.*://')" 5
at a play --json --to "Far @ b" "$file" >"$OUT/play.json" 2>"$OUT/play.err" || fail "play gave $? under the flood: $(cat "$OUT/play.err")"
eventually 5 "all has arrived" heard far $((2 * wanted))
for name in a b; do finish flood-$name 20 || fail "the flood of $name: $(cat "$OUT/flood-$name.err")"; done
say "what b was sent:"
cat "$OUT/flood-b.out"
stop far
"$LAB/tools/compare.py" events "$OUT/far.out" "$file" "$file" >"$OUT/compare" 2>&1 || fail "$(cat "$OUT/compare")"
say "ok: $(cat "$OUT/compare")"
check "a and b are still linked" is_linked a b
check "and never were apart" sh -c "! grep -q 'ended' '$OUT/a.err' '$OUT/b.err'"
say "lateness of the player, in us: $(json late_us <"$OUT/play.json")"
for name in a b; do
  for key in $counters; do metric $name "$key"; done >"$OUT/after-$name"
  paste -d' ' "$OUT/before-$name" "$OUT/after-$name" | while read -r before after; do
    [ "$after" -gt "$before" ] || exit 1
  done || fail "not all of $counters grew at $name: $(paste -sd' ' "$OUT/before-$name") -> $(paste -sd' ' "$OUT/after-$name")"
  say "ok: $name counted ($counters): $(paste -sd' ' "$OUT/after-$name")"
  grown="memory_$name"
  within "kB by which $name grew" -20000 $(($(memory $name) - ${!grown})) 20000
  # The flood is over: what it left open is closed, at the latest when a hello is overdue.
  eventually 8 "$name has closed its connections" has_descriptors $name 60
  grown="threads_$name"
  within "threads that $name has more" -20 $(($(threads $name) - ${!grown})) 4
done

node c --no-discovery --peer "127.0.0.1:$(field b tcp)"
linked c b

say "--- pages from elsewhere"
status() { get b "$1" -o /dev/null -w '%{http_code}' "${@:2}"; }
http=$(field b http)
equal "its own address" 200 "$(status /node/info)"
equal "its own page" 200 "$(status /node/info -H "Origin: http://$http")"
for path in /node/info /midi/devices /network/mesh /metrics/midi; do
  equal "a foreign Host at $path" 421 "$(status $path -H 'Host: evil.example')"
done
equal "a foreign Host with the right port" 421 "$(status /node/info -H "Host: evil.example:${http##*:}")"
equal "a foreign Origin" 403 "$(status /node/info -H 'Origin: http://evil.example')"
equal "no Origin at all (a sandboxed page)" 403 "$(status /node/info -H 'Origin: null')"
equal "panic from a foreign page" 403 "$(status /panic -X POST -H 'Origin: http://evil.example')"
equal "a socket for a foreign page" 403 "$(status '/ws?source=true' -H 'Origin: http://evil.example' \
  -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==')"
equal "what is not there" 404 "$(status /etc/passwd)"
