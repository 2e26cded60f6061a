#!/usr/bin/env bash
# A firewall stops UDP between two nodes while TCP passes: notes go by the stream within 1.5 s, the link
# says so, and datagrams carry them again when they pass. In the middle, from the beginning, and one way.
# limit: 90
. "$LAB/lib.sh"

network 2
# gaps FROM TO: of the notes that a's keyboard gave between two moments, in ms after FROM: when the last
# one that took more than 150 ms (or never came) was given, and how many came late or never.
gaps() {
  python3 - "$LAB" "$OUT/near.out" "$OUT/far.out" "$1" "$2" <<'P'
import sys
sys.path.insert(0, sys.argv[1] + "/tools")
import jsonmidi
near, far = ({data: at for at, data in jsonmidi.messages(path)} for path in sys.argv[2:4])
start, end = map(int, sys.argv[4:6])
late = [at for data, at in near.items() if start <= at <= end and far.get(data, 1 << 62) - at > 150_000]
print(round((max(late) - start) / 1000) if late else 0, len(late))
P
}
by() { at "$1" peers --json | grep "\"name\":\"$2\"" | grep -q "\"path\":\"$3\""; }
# ways: what both sides say; only the one whose datagrams are stopped must know.
ways() { echo "a says $(link_of a b path), b says $(link_of b a path)"; }

# up_pair: two nodes, and notes from a to b, twenty a second.
up_pair() {
  node b "$NETLAB" exec b -- -- --no-discovery --no-alsa --no-jack
  node a "$NETLAB" exec a -- -- --no-discovery --no-alsa --no-jack --app-port Keys --peer "10.77.0.2:$(field b tcp)"
  linked a b
  listen near a Keys
  eventually 5 "b sees a's port" has_port b "Keys @ a" source
  listen far b "Keys @ a"
}
down_pair() { for name in near far a b; do stop $name; done; }

up_pair
traffic notes a Keys notes 20 32 4
heard_some() { heard far 20; }
eventually 5 "notes flow" heard_some
# stopped NODE PEER IMPAIR...: from now on what NODE sends goes by the stream, until UDP passes again.
stopped() {
  local node=$1 peer=$2 began until number
  shift 2
  by a b datagrams && by b a datagrams || fail "before anything is stopped: $(ways)"
  began=$(clock_us)
  "$NETLAB" impair "$@"
  eventually 3 "$node says that its notes go by the stream" by "$node" "$peer" stream
  say "ms until it did: $((($(clock_us) - began) / 1000)); $(ways)"
  sleep 2
  read -r until number <<<"$(gaps "$began" $(($(clock_us) - 300000)))"
  within "ms after the first lost datagram until notes were heard again in time ($number were not)" 0 "$until" 1700
  began=$(clock_us)
  "$NETLAB" clear
  eventually 3 "it says that datagrams carry them again" by "$node" "$peer" datagrams
  within "ms until it did" 0 $((($(clock_us) - began) / 1000)) 2100
  eventually 3 "the other one, too" by "$peer" "$node" datagrams
  read -r until number <<<"$(gaps "$began" "$(clock_us)")"
  equal "notes that were late meanwhile" 0 "$number"
}
say "--- UDP is stopped both ways"
stopped a b a b --block udp
say "--- UDP is stopped from a to b"
stopped a b a b --block udp --oneway
say "--- UDP is stopped from b to a: b's acknowledgements go by the stream, a's notes by datagrams"
from=$(clock_us)
stopped b a b a --block udp --oneway
read -r until number <<<"$(gaps "$from" "$(clock_us)")"
equal "notes from a that were late" 0 "$number"
finish notes 40 || fail "the notes: $(cat "$OUT/notes.err")"
eventually 5 "nothing hangs, both sides agree" agree
check "and the link never broke" sh -c "! grep -q 'ended' '$OUT/a.err' '$OUT/b.err'"
say "datagrams by the stream: a $(link_of a b datagrams_carried), b $(link_of b a datagrams_carried)"
down_pair

say "--- UDP is stopped from the beginning"
"$NETLAB" impair a b --block udp
began=$(now)
up_pair
traffic again a Keys notes 20 6 4
eventually 3 "a says that its notes go by the stream" by a b stream
say "seconds from the start of b until it did: $(since "$began")"
from=$(clock_us)
finish again 15 || fail "the notes: $(cat "$OUT/again.err")"
read -r until number <<<"$(gaps "$from" "$(clock_us)")"
equal "notes that were late, once it had" 0 "$number"
eventually 5 "nothing hangs, both sides agree" agree
began=$(clock_us)
"$NETLAB" clear
eventually 3 "datagrams carry them when they pass" by a b datagrams
within "ms until they did" 0 $((($(clock_us) - began) / 1000)) 2100
