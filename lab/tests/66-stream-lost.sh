#!/usr/bin/env bash
# The connection of two nodes is cut, at both ends or at one, and TCP stopped for five seconds, while UDP passes: every
# note arrives as it did before, none is let go, and the link goes on with the next connection. Where nothing passes
# either, all is let go within two seconds.
# limit: 120
. "$LAB/lib.sh"

keys_heard
keyboard a Keys
sounding() { python3 "$LAB/tools/device.py" sounding "$OUT/far.out"; }
sounds() { [ "$(sounding)" = "$1" ]; }
holds() { sounding | grep -q "$1"; }
whole() { [ "$(link_of a b why)" = null ] && [ "$(link_of b a why)" = null ]; }
adrift() { link_of "$1" "$2" why | grep -q 'notes go on'; }
# cut NODE...: ends the connections of these nodes as a router does that has forgotten them, and lets no other come about.
cut() {
  "$NETLAB" impair a b --block tcp
  for node in "$@"; do "$NETLAB" exec "$node" -- ss -Kt state established dst 10.77.0.0/24 >/dev/null || fail "ss -K"; done
}

key a "$(note_on 16 9)"
eventually 5 "a note is held" sounds "16/9"
traffic notes a Keys notes 100 30 4
heard_some() { heard far 200; }
eventually 5 "notes flow" heard_some
resumed=0
for ends in "a b" a b; do
  say "--- cut at $ends"
  began=$(clock_us)
  cut $ends
  for node in $ends; do
    other=$([ "$node" = a ] && echo b || echo a)
    eventually 2 "$node says that notes go on" adrift "$node" "$other"
    at "$node" peers >"$OUT/peers.txt"
    check "people see it" grep -q 'connection is lost and made anew' "$OUT/peers.txt"
  done
  sleep 5
  check "the note is held" holds 16/9
  ended=$(clock_us)
  "$NETLAB" clear
  eventually 10 "both have a connection again" whole
  resumed=$((resumed + 1))
  python3 "$LAB/tools/delays.py" --from "$began" --to "$((ended - 200000))" 0.1 "$OUT/near.out" "$OUT/far.out" >"$OUT/cut.json"
  say "while there was none: $(cat "$OUT/cut.json")"
  equal "notes that were not played" 0 "$(json missing <"$OUT/cut.json")"
  equal "notes that nobody sent" 0 "$(json extra <"$OUT/cut.json")"
  within "p99 in ms" 0 "$(json p99 <"$OUT/cut.json")" 20
done
finish notes 40 || fail "the notes: $(cat "$OUT/notes.err")"
eventually 5 "all but the held note has ended" sounds "16/9"
for node in a b; do
  within "connections that $node's link went on with" "$resumed" "$(metric "$node" connections_resumed)" $((4 * resumed))
  check "$node's link never ended" sh -c "! grep -q 'link with .* ended' '$OUT/$node.err'"
done

say "--- nothing passes"
began=$(now)
"$NETLAB" impair a b --down
for node in a b; do "$NETLAB" exec "$node" -- ss -Kt state established dst 10.77.0.0/24 >/dev/null; done
within_time 4 sounds none || fail "after 4 s there sounds: $(sounding)"
within "seconds until all was let go" 0.3 "$(since "$began")" 2
"$NETLAB" clear
linked a b

say "--- a node dies without a word"
before=$(grep -c '"type"' "$OUT/far.out")
flows() {
  key a "$(note_on 16 11)" "$(note_off 16 11)"
  sleep 0.2
  heard far $((before + 2))
}
eventually 5 "notes flow again" flows
key a "$(note_on 16 10)"
eventually 5 "a note is held" sounds "16/10"
began=$(now)
kill -KILL "$("$NETLAB" exec a -- pgrep -f 'midip2p up --json --name a' | head -n 1)"
within_time 4 sounds none || fail "the note hangs"
within "seconds until it was let go" 0 "$(since "$began")" 1.5
