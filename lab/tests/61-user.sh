#!/usr/bin/env bash
# What people do wrong, or have done to them: every time a message that helps, and nothing left sounding.
# limit: 110
. "$LAB/lib.sh"

say "--- wrong words"
refused 2 'usage' "$MIDIP2P" plya song.mid
refused 2 '--port-udp' "$MIDIP2P" up --port-ud 0
refused 2 '70000' "$MIDIP2P" up --port-udp 70000
refused 2 'FILE' "$MIDIP2P" play
refused 2 'speed' "$MIDIP2P" play --speed 99 song.mid
refused 2 'name' "$MIDIP2P" up --name ' ' --no-discovery
place nobody
refused 1 'midip2p up' at nobody ports

node b --no-discovery
node a --no-discovery --peer "127.0.0.1:$(field b tcp)"
linked a b
listen far b --port "Grand Piano"
eventually 5 "a sees b's port" has_port a "Grand Piano @ b" destination
refused 2 'no node.*"c"|did you mean' at a play --node c "$PWD/crates/node/tests/data/order.mid"
refused 2 'did you mean .*Grand Piano @ b' at a play --to "Gramd Piano" "$PWD/crates/node/tests/data/order.mid"
refused 2 'no interface .eth77' "$MIDIP2P" up --interface eth77 --port-udp 0 --port-tcp 0 --port-http 0

say "--- broken files: nothing of them is sent, nor of the good one before them"
good=$PWD/crates/node/tests/data/order.mid
head -c 1000 "$good" >"$OUT/cut-off.mid"
python3 - "$good" "$OUT" <<'P'
import sys
data, out = bytearray(open(sys.argv[1], "rb").read()), sys.argv[2]
def write(name, content):
    with open(f"{out}/{name}.mid", "wb") as file:
        file.write(content)
write("wrong-length", data[:18] + b"\x7f\xff\xff\xff" + data[22:])
write("no-tempo", data[:12] + b"\0\0" + data[14:])
write("running-status", data[:18] + b"\0\0\0\x07" + b"\0\x3c\x40\0\xff\x2f\0")
write("not-midi", b"RIFF of another kind" * 9)
write("empty", b"")
P
sent() { metric a realtime_sent; }
before=$(sent)
for name in cut-off wrong-length no-tempo running-status not-midi empty; do
  refused 2 "$name.mid.*(byte|offset|at|header|track)" at a play --to "Grand Piano @ b" "$good" "$OUT/$name.mid"
done
refused 2 'no-such.mid' at a play "$OUT/no-such.mid"
refused 2 '.' at a play "$OUT"
equal "events sent meanwhile" "$before" "$(sent)"

say "--- Ctrl-C while a note is held"
python3 - "$OUT/long.mid" <<'P'
import sys
# A note and a pedal at once, and their end 250 beats later.
track = b"\0\x92\x30\x64\0\xb2\x40\x7f\xee\x60\x82\x30\x40\0\xff\x2f\0"
with open(sys.argv[1], "wb") as file:
    file.write(b"MThd\0\0\0\6\0\0\0\1\0\x38" + b"MTrk" + len(track).to_bytes(4, "big") + track)
P
start_at long a play --to "Grand Piano @ b" "$OUT/long.mid"
eventually 5 "the note is heard" grep -q '"noteOn","channel":3,"note":48' "$OUT/far.out"
kill -INT "${lab_pid[long]}"
finish long 5
equal "exit status after Ctrl-C" 130 $?
check "it says that it stopped" grep -q 'nothing is left sounding' "$OUT/long.out"
eventually 2 "the note is released" grep -q '"noteOff","channel":3,"note":48' "$OUT/far.out"
eventually 2 "and the pedal" grep -q '"controlChange","channel":3,"controller":64,"value":0' "$OUT/far.out"

say "--- a node is killed while a note is held"
: >"$OUT/far.out"
start_at again a play --to "Grand Piano @ b" "$OUT/long.mid"
eventually 5 "the note is heard" grep -q '"noteOn","channel":3,"note":48' "$OUT/far.out"
began=$(now)
kill -KILL "${lab_pid[a]}"
eventually 5 "the note is released" grep -q '"noteOff","channel":3,"note":48' "$OUT/far.out"
within "seconds until it was" 0 "$(since "$began")" 4
finish again 5
equal "exit status of the program that played on the killed node" 1 $?
say "it said: $(tail -n 1 "$OUT/again.err")"
unset "lab_pid[a]"
stop far
stop b

say "--- three nodes with nothing but a loopback interface, and default ports"
alone=lo-$$
ip netns add "$alone" || fail "no network namespace"
at_end "ip netns del $alone"
mkdir -p "$OUT/shared"
for name in one two three; do place "$name" env XDG_RUNTIME_DIR="$OUT/shared" ip netns exec "$alone"; done

# Without even that: it works, or says what is missing.
timeout 10 ip netns exec "$alone" "$MIDIP2P" up --state "$OUT/state-none" >"$OUT/none.out" 2>"$OUT/none.err"
code=$?
[ "$code" = 124 ] || [ "$code" = 1 ] || fail "without any network \`up\` gave $code: $(cat "$OUT/none.err")"
grep -q panicked "$OUT/none.err" && fail "it panicked: $(cat "$OUT/none.err")"
[ "$code" = 124 ] || check "it says why it did not start" test -s "$OUT/none.err"
say "without any network: exit status $code (124: it ran), said: $(cat "$OUT/none.out" "$OUT/none.err" | head -n 4 | paste -sd'|')"
refused 1 '.' ip netns exec "$alone" "$MIDIP2P" demo --speed max

ip netns exec "$alone" ip link set lo up
for name in one two; do
  start_at "$name" "$name" up --json --name "$name" --app-port Keys
  ready "$name" 10
done
equal "ports of the first" "5004 5005 127.0.0.1:8080" "$(field one udp) $(field one tcp) $(field one http)"
differs() { [ "$1" != "$2" ]; }
for key in udp tcp http; do check "another $key port of the second" differs "$(field one $key)" "$(field two $key)"; done
start_at three three up --name three
said() { grep -q 'UDP port 5004 is taken' "$OUT/three.out"; }
eventually 5 "the third says which ports are taken" said
cat "$OUT/three.out"
for pair in "one two" "two one" "one three"; do
  # shellcheck disable=SC2086 # two words
  link_here() { at "$1" peers --json --node "$1" | grep "\"name\":\"$2\"" | grep -q '"state":"connected"'; }
  eventually 5 "linked through the registry: $pair" link_here $pair
done
refused 2 'say which.*--node|--node' at one ports
at one ports --node two >"$OUT/ports-two" || fail "ports --node two"
check "two shows one's port" grep -q 'Keys @ one' "$OUT/ports-two"
for name in three two one; do stop "$name"; done

say "--- no room for the state"
cat >"$OUT/full.sh" <<'S'
mount -t tmpfs -o size=16k tmpfs "$1" && dd if=/dev/zero of="$1/fill" bs=1k 2>/dev/null
XDG_STATE_HOME=$1 exec "$MIDIP2P" up --no-discovery --port-udp 0 --port-tcp 0 --port-http 0
S
mkdir "$OUT/full"
refused 1 'space' unshare --mount --propagation private bash "$OUT/full.sh" "$OUT/full"

say "--- demos"
place demo
start_at demo1 demo demo --speed max
start_at demo2 demo demo --speed max
for name in demo1 demo2; do
  finish $name 20
  equal "exit status of two demos at once" 0 $?
done
tail -n 12 "$OUT/demo1.out"
# children PID: all its descendants that live.
children() { local pid; for pid in $(pgrep -P "$1"); do echo "$pid"; children "$pid"; done; }
for how in INT TERM KILL; do
  start_at "demo-$how" demo demo
  two_nodes() { [ "$(children "${lab_pid[demo-$how]}" | wc -l)" -ge 2 ]; }
  eventually 10 "a demo runs" two_nodes
  family=$(children "${lab_pid[demo-$how]}")
  kill -"$how" "${lab_pid[demo-$how]}"
  finish "demo-$how" 5
  say "exit status after SIG$how: $?"
  none_left() { for pid in $family; do kill -0 "$pid" 2>/dev/null && return 1; done; return 0; }
  eventually 5 "no process is left of it" none_left
done
