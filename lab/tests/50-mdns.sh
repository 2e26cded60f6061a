#!/usr/bin/env bash
# Nodes find each other by multicast, Avahi sees them too, IPv6 alone is enough, and a cable that is
# pulled silences what it held and costs nothing else once it is back.
# limit: 110
. "$LAB/lib.sh"

network 3
ns() { "$NETLAB" exec "$1" -- "${@:2}"; }
listen_far() { listen "$1" c --port Far; }

say "--- what Avahi sees of a node"
node a "$NETLAB" exec a -- -- --app-port Keys
browse() {
  timeout 8 "$LAB/mdns/mdns.sh" "nl-$NETLAB_NAME-b" hostb -- timeout 4 avahi-browse -rtp _midip2p._tcp >"$OUT/browse.txt"
}
found() { browse; grep -q "^=;eth0;IPv4;a;_midip2p._tcp;local;" "$OUT/browse.txt"; }
found || found || { cat "$OUT/browse.txt"; fail "Avahi at b does not see node a"; }
line=$(grep "^=;eth0;IPv4;a;" "$OUT/browse.txt" | head -n 1)
equal "address and port that Avahi sees" "10.77.0.1;$(field a tcp)" "$(cut -d';' -f8,9 <<<"$line")"
check "its text has a hash" grep -q '"h=[0-9a-f]\{64\}"' <<<"$line"
check "and nothing of the node's id" sh -c "! grep -q '$(field a id | cut -c1-8)'" <<<"$line"
check "and the version" grep -q '"v=1"' <<<"$line"

say "--- two nodes that were told nothing"
began=$(now)
node c "$NETLAB" exec c -- --
linked c a
within "seconds from its start to its first link" 0 "$(since "$began")" 5
listen_far far
eventually 5 "a sees c's port" has_port a "Far @ c" destination
# play_order LABEL: the file whose order matters, from a to c.
play_order() {
  at a play --json --to "Far @ c" "$PWD/crates/node/tests/data/order.mid" >"$OUT/play.json" 2>"$OUT/play.err" ||
    fail "play gave $?: $(cat "$OUT/play.err")"
  eventually 5 "all has arrived" heard "$1" 34
  "$LAB/tools/compare.py" events "$OUT/$1.out" "$PWD/crates/node/tests/data/order.mid" >"$OUT/compare" 2>&1 ||
    fail "$(cat "$OUT/compare")"
  say "ok: $(cat "$OUT/compare")"
}
play_order far

say "--- a pulled cable"
mkfifo "$OUT/keys"
eval "${lab_at[a]}"'"$MIDIP2P" send --to "Far @ c" <"$OUT/keys" >"$OUT/send.out" 2>"$OUT/send.err" &'
sender=$!
at_end "kill $sender"
exec 7>"$OUT/keys"
printf '{"type":"noteOn","channel":5,"note":42,"velocity":99}\n{"type":"controlChange","channel":5,"controller":64,"value":127}\n' >&7
eventually 5 "a note is held at c" grep -q '"noteOn","channel":5,"note":42' "$OUT/far.out"
ports_before=$(at a ports --json | json_names)
began=$(now)
"$NETLAB" carrier c off
off() { grep -q '"noteOff","channel":5,"note":42' "$OUT/far.out"; }
eventually 6 "the note is released at c" off
within "seconds until it was" 0 "$(since "$began")" 4.5
check "and its pedal" grep -q '"controlChange","channel":5,"controller":64,"value":0' "$OUT/far.out"
apart() { ! is_linked a c; }
eventually 3 "a says that the link is gone" apart
no_port() { ! has_port a "Far @ c" destination; }
# It stays five seconds, so that what is connected to it survives a short break.
eventually 8 "and so is c's port, after a while" no_port
began=$(now)
"$NETLAB" carrier c on
eventually 15 "they are linked again" is_linked a c
say "seconds until they were: $(since "$began")"
eventually 5 "c's port is back" has_port a "Far @ c" destination
equal "a's ports, before and after" "$ports_before" "$(at a ports --json | json_names)"
printf '{"type":"noteOn","channel":5,"note":43,"velocity":99}\n' >&7
eventually 5 "the program that played goes on playing" grep -q '"noteOn","channel":5,"note":43' "$OUT/far.out"
exec 7>&-
eventually 3 "it ends and leaves nothing sounding" grep -q '"noteOff","channel":5,"note":43' "$OUT/far.out"
stop far
stop c
stop a

say "--- IPv6 alone"
for name in a c; do ns $name ip -4 addr flush dev eth0; done
node a "$NETLAB" exec a -- --
began=$(now)
node c "$NETLAB" exec c -- --
linked c a
within "seconds from its start to its first link" 0 "$(since "$began")" 5
check "over IPv6" grep -q '"address":"\[f' <<<"$(at c peers --json | grep '"connected"')"
listen_far six
eventually 5 "a sees c's port" has_port a "Far @ c" destination
play_order six
