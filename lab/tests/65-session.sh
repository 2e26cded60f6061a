#!/usr/bin/env bash
# Machines of three users with one passphrase: linked and played on unasked, nothing of it written down; who has
# another, or guesses, is not let in, says so, and is counted; what passes shows tshark no passphrase.
# limit: 60
. "$LAB/lib.sh"

network 3
phrase=$(head -c 12 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
# passphrase FILE TEXT: a file with a passphrase, that everybody may read.
passphrase() { (umask 022 && printf '%s\n' "$2" >"$OUT/$1"); }
passphrase right "$phrase"
passphrase again "  $phrase  "
passphrase wrong "${phrase}x"

# session NAME SPACE FILE [OPTIONS...]: a node of another user in the session.
session() {
  local name=$1 space=$2 file=$3
  shift 3
  node "$name" "$NETLAB" exec "$space" -- -- --no-discovery --no-alsa --no-jack --trust session \
    --passphrase-file "$OUT/$file" "$@"
}
another_user
start wire "$NETLAB" exec a -- tshark -q -i eth0 -w "$OUT/wire.pcapng"
within_time 15 grep -qs 'Capturing on' "$OUT/wire.err" || fail "tshark does not listen: $(cat "$OUT/wire.err")"
session Annabel a right --app-port Celesta
equal "mode of the file" 600 "$(stat -c %a "$OUT/right")"
check "the log does not show it" sh -c "! grep -q '$phrase' '$OUT/Annabel.err'"
another_user
session Bartholomew b again --peer "10.77.0.1:$(field Annabel tcp)"
linked Annabel Bartholomew
linked Bartholomew Annabel
# of NAME PEER KEY: what NAME says of PEER in its list.
of() { at "$1" trust --json | grep "\"name\":\"$2\"" | head -n 1 | json "$3" 2>/dev/null; }
equal "why Bartholomew is trusted" passphrase "$(of Annabel Bartholomew trust)"
check "people read it" sh -c 'grep -q "by the passphrase"' <<<"$(at Bartholomew trust)"
check "nothing is written down" sh -c "! ls '$OUT'/state-*/midip2p/node-1/trusted.json 2>/dev/null"

say "--- music"
listen far Bartholomew --port Dulcimer
eventually 5 "Annabel sees Bartholomew's port" has_port Annabel "Dulcimer @ Bartholomew" destination
at Annabel play --json --to "Dulcimer @ Bartholomew" "$PWD/crates/node/tests/data/order.mid" >"$OUT/play.json" 2>"$OUT/play.err" ||
  fail "play gave $?: $(cat "$OUT/play.err")"
eventually 5 "all has arrived" heard far 34
refused 1 'another passphrase' at Annabel trust rm Bartholomew

say "--- another passphrase"
another_user
for time in 1 2 3; do
  session Cornelius c wrong --peer "10.77.0.1:$(field Annabel tcp)"
  wrong_there() { grep -q 'wrong passphrase' "$OUT/Cornelius.err"; }
  eventually 10 "Cornelius is told, for the ${time}. time" wrong_there
  is_counted() { [ "$(metric Annabel passphrases_refused)" = "$time" ]; }
  eventually 5 "Annabel has counted it" is_counted
  stop Cornelius
done
check "Annabel is told" grep -q 'wrong passphrase' "$OUT/Annabel.err"
# Now it has the right one, and used up its guesses.
session Cornelius c right --peer "10.77.0.1:$(field Annabel tcp)"
refused_there() { at Cornelius peers --json | grep -q 'refused too often'; }
eventually 10 "Cornelius is told that it has to wait" refused_there
equal "peers that Annabel is linked with" 1 "$(at Annabel peers --json | grep -c '"state":"connected"')"
linked Annabel Bartholomew

stop wire
python3 - "$OUT/wire.pcapng" "$phrase" <<'P' || fail "the passphrase is on the wire"
import sys
wire = open(sys.argv[1], "rb").read()
print(f"ok: {len(wire)} bytes do not hold the passphrase")
sys.exit(len(wire) < 1000 or sys.argv[2].encode() in wire)
P
