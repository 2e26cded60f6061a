#!/usr/bin/env bash
# Machines of two users: nothing is played or shown before both have confirmed the one code that both show; what
# passes between them shows tshark no MIDI and no name; who is trusted no longer is gone at once with what it held.
# limit: 60
. "$LAB/lib.sh"

network 2
another_user
node Annabel "$NETLAB" exec a -- -- --no-discovery --no-alsa --no-jack --app-port Celesta \
  --http-address 10.77.0.1
start wire "$NETLAB" exec a -- tshark -q -i eth0 -w "$OUT/wire.pcapng"
within_time 15 grep -qs 'Capturing on' "$OUT/wire.err" || fail "tshark does not listen: $(cat "$OUT/wire.err")"
another_user
# Bartholomew dials anew each time it starts.
bartholomew() {
  node Bartholomew "$NETLAB" exec b -- -- --no-discovery --no-alsa --no-jack \
    --peer "10.77.0.1:$(field Annabel tcp)"
}
bartholomew

# of NAME PEER KEY: what NAME says of PEER in its list.
of() { at "$1" trust --json | grep "\"name\":\"$2\"" | head -n 1 | json "$3" 2>/dev/null; }
waits() { [ "$(of "$1" "$2" trust)" = waiting ]; }
has_code() { [[ "$(of "$1" "$2" code)" == ???\ ??? ]]; }
eventually 10 "Bartholomew waits at Annabel" waits Annabel Bartholomew
eventually 10 "Annabel waits at Bartholomew" waits Bartholomew Annabel
at Annabel trust ask Bartholomew >/dev/null || fail "trust ask"
sleep 1
equal "the code when one was asked" null "$(of Annabel Bartholomew code)"
at Bartholomew trust ask "$(field Annabel id)" >/dev/null || fail "trust ask"
eventually 5 "Annabel has a code" has_code Annabel Bartholomew
eventually 5 "Bartholomew has a code" has_code Bartholomew Annabel
code=$(of Annabel Bartholomew code)
equal "the code at Bartholomew" "$code" "$(of Bartholomew Annabel code)"
check "it is six digits" grep -qx '[0-9]\{3\} [0-9]\{3\}' <<<"$code"
check "Bartholomew shows nothing of Annabel's" sh -c "! grep -q Celesta" <<<"$(at Bartholomew ports --json)"
equal "peers that Annabel is linked with" 0 "$(at Annabel peers --json | grep -c '"state":"connected"')"

say "--- a confirmation takes the code, and both"
plain=${code/ /}
refused 2 "$code" at Annabel trust add Bartholomew </dev/null
wrong=$(printf '%06d' $(((10#$plain + 1) % 1000000)))
refused 1 'not the code' at Annabel trust add Bartholomew --code "$wrong"
refused 2 'did you mean' at Annabel trust add Bartolomew --code "$plain"
at Annabel trust add Bartholomew --code "$plain" >"$OUT/add" || fail "trust add"
check "Annabel is told that the other is missing" grep -q 'waits for the same there' "$OUT/add"
equal "Annabel's state at Bartholomew" false "$(of Bartholomew Annabel confirmed_here)"
equal "still linked with" 0 "$(at Annabel peers --json | grep -c '"state":"connected"')"
at Bartholomew trust add Annabel --code "$code" >"$OUT/add" || fail "trust add"
check "Bartholomew is told that they are linked" grep -q 'trusted, and linked' "$OUT/add"
linked Annabel Bartholomew

say "--- music, and what tshark sees of it"
# play_order LABEL: a file with notes and SysEx, from Annabel to Bartholomew.
play_order() {
  listen "$1" Bartholomew --port Dulcimer
  eventually 5 "Annabel sees Bartholomew's port" has_port Annabel "Dulcimer @ Bartholomew" destination
  at Annabel play --json --to "Dulcimer @ Bartholomew" "$PWD/crates/node/tests/data/order.mid" >"$OUT/play.json" 2>"$OUT/play.err" ||
    fail "play gave $?: $(cat "$OUT/play.err")"
  eventually 5 "all has arrived" heard "$1" 34
}
play_order far
stop Bartholomew
bartholomew
linked Annabel Bartholomew
linked Bartholomew Annabel
say "ok: after a restart nobody is asked again"
sleep 1
stop wire
seen() { tshark -r "$OUT/wire.pcapng" -Y "$1" 2>/dev/null | wc -l; }
udp=$(field Bartholomew udp)
within "packets that tshark saw" 100 "$(seen ip)" 100000
within "of these UDP" 20 "$(seen "udp && !mdns")" 100000
# Not on port 443: it has to be told.
tls() { tshark -d "tcp.port==$(field Annabel tcp),tls" -r "$OUT/wire.pcapng" -Y "$1" 2>/dev/null | wc -l; }
within "TLS handshakes" 4 "$(tls tls.handshake)" 100
equal "TCP with data that is no TLS" 0 "$(tls 'tcp.len > 0 && !tls && !tcp.analysis.retransmission && !tcp.segment_data')"
equal "what it takes for MIDI or JSON" 0 "$(seen 'rtpmidi || sysex || applemidi || json')"
python3 - "$OUT/wire.pcapng" "$(field Annabel id)" "$(field Bartholomew id)" <<'P' || fail "a name or MIDI on the wire"
import socket, sys
wire = open(sys.argv[1], "rb").read()
names = [b"Annabel", b"Bartholomew", b"Celesta", b"Dulcimer"]
# A short one may come about by chance.
names += [name for name in [socket.gethostname().encode()] if len(name) >= 6]
for node in sys.argv[2:]:
    names += [bytes.fromhex(node), node.encode(), node[:16].encode()]
# The events of the file as the words of packets, and its SysEx as bytes: GM on, and the notes of its channels.
midi = [bytes.fromhex("7e7f0901")] + [bytes([0x20, 0x90 | c, n, v]) for c in range(16) for n in range(36, 97) for v in (100,)]
found = [what for what in names + midi if what in wire]
print(f"ok: {len(wire)} bytes hold none of {len(names)} names and {len(midi)} messages" if not found else f"found {found}")
sys.exit(bool(found))
P

say "--- over HTTP from another machine"
token=$(cat "$OUT/state-Annabel/midip2p/node-1/token")
# asks HEADER: the status that Bartholomew's machine gets for a request with that header.
asks() { "$NETLAB" exec b -- curl -sS --max-time 5 -o /dev/null -w '%{http_code}' -H "$1" "http://$(field Annabel http)/node/info"; }
equal "without a token" 401 "$(asks 'X: none')"
equal "with another" 401 "$(asks "Authorization: Bearer ${token%?}")"
equal "with the token" 200 "$(asks "Authorization: Bearer $token")"
equal "those that were refused" 2 "$(metric Annabel http_tokens_refused)"
refused 1 'MIDIP2P_TOKEN' at Bartholomew ports --node "$(field Annabel http)"
check "midip2p shows the token too" sh -c 'grep -q Celesta' <<<"$(MIDIP2P_TOKEN=$token at Bartholomew ports --node "$(field Annabel http)")"
equal "mode of the token" 600 "$(stat -c %a "$OUT/state-Annabel/midip2p/node-1/token")"

say "--- trusted no longer"
listen held Bartholomew "Celesta @ Annabel"
keyboard Annabel Celesta
key Annabel "$(note_on 1 60)"
eventually 5 "the note is heard" heard held 1
at Bartholomew trust rm Annabel || fail "trust rm"
ends() { grep -q noteOff "$OUT/held.out"; }
within_time 2 ends || fail "the note hangs"
say "ok: the note that it held ended"
gone() { ! is_linked "$1" "$2"; }
eventually 2 "gone at Bartholomew" gone Bartholomew Annabel
eventually 2 "gone at Annabel" gone Annabel Bartholomew
keyboard_ends Annabel
at Annabel trust rm Bartholomew || fail "trust rm"
equal "what Annabel still trusts" "" "$(at Annabel trust --json | grep confirmed\")"

say "--- refused three times"
for time in 1 2 3; do
  stop Bartholomew
  bartholomew
  eventually 10 "it asks for the ${time}. time" waits Annabel Bartholomew
  at Annabel trust refuse Bartholomew || fail "trust refuse"
done
stop Bartholomew
bartholomew
refused_there() { at Bartholomew peers --json | grep -q 'refused too often'; }
eventually 10 "Bartholomew is told that it is not asked about" refused_there
equal "who waits at Annabel" "" "$(at Annabel trust --json | grep waiting)"
