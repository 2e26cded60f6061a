#!/usr/bin/env bash
# A SysEx of 10 KB is played at the other end within 100 ms after a program gave it; and one of 10 MB goes
# through the tunnel at 0.8 times at least the speed of a bare TCP copy of as many bytes, at 100 Mbit/s. So it
# does at 1 Gbit/s where two processors have nothing else to do; as the two nodes, the network and whoever
# watches it share them, 0.6 is what is held there.
# limit: 110
. "$LAB/lib.sh"

# What is measured is the tunnel, not the programs at its ends: `send` makes 20 MB of text of 10 MB, the node
# reads it, and only then the first fragment leaves; b plays it when it is whole. So lab/tools/wire.py looks
# each millisecond at what has come to b's interface, and takes the time between a hundredth of a transfer
# and 99 of them, of a dump as of a copy. A copy is of the bytes of SysEx, and for the reader also of as many
# as its packets have (eight bytes for six).
# They go by turns, so that all meet the same machine, and the medians are compared.
rounds=5
bytes=10000000
words=$(((bytes - 2 + 5) / 6 * 8))

network 2 --rt
usual_tcp a b
node b "$NETLAB" exec b -- -- --no-discovery --no-alsa --no-jack --app-port Synth
node a "$NETLAB" exec a -- -- --no-discovery --no-alsa --no-jack --peer "10.77.0.2:$(field b tcp)"
linked a b
eventually 5 "a sees b's port" has_port a "Synth @ b" destination

say "--- 10 KB"
"$NETLAB" impair a b --delay 0.2ms --rate 1gbit
python3 "$LAB/tools/dumps.py" make "$OUT/small.syx" 20 10000 1
python3 - "$OUT/small.syx" >"$OUT/small.json" <<'P'
import json, sys
for part in open(sys.argv[1], "rb").read().split(b"\xf0")[1:]:
    print(json.dumps({"type": "sysex", "data": part[:-1].hex()}))
P
listen near a
listen far b --port Synth
keyboard a Out --to "Synth @ b"
while read -r record; do
  clock_us
  key a "$record"
  sleep 0.1
done <"$OUT/small.json" >"$OUT/given"
keyboard_ends a || fail "the keyboard gave $?: $(cat "$OUT/keyboard-a.err")"
eventually 5 "b has played all" heard far 20
stop near
stop far
check "they are what was sent" python3 "$LAB/tools/dumps.py" same "$OUT/far.out" "$OUT/small.syx"
# The time of a line is that of its last packet.
read -r median worst tunnel <<<"$(python3 - "$OUT" "$LAB" <<'P'
import statistics, sys
out, lab = sys.argv[1:]
sys.path.insert(0, lab + "/tools")
import jsonmidi
given = [int(line) for line in open(out + "/given")]
near, far = ([at for at, _ in jsonmidi.messages(f"{out}/{end}.out")] for end in ("near", "far"))
took = [(b - a) / 1000 for a, b in zip(given, far, strict=True)]
print(round(statistics.median(took), 2), round(max(took), 2), round(statistics.median((b - a) / 1000 for a, b in zip(near, far, strict=True)), 2))
P
)"
say "ms from a's real-time thread to b's, the last packet, median: $tunnel"
say "ms from the program's line until all is played at b: median $median, worst of 20 $worst"
within "ms until 10 KB are played" 0 "$worst" 100

say "--- 10 MB"
python3 "$LAB/tools/dumps.py" make "$OUT/large.syx" 1 $bytes 2
start sink "$NETLAB" exec b -- python3 "$LAB/tools/wire.py" sink 9000
start wire chrt -f 50 "$NETLAB" exec b -- python3 "$LAB/tools/wire.py" watch
eventually 5 "the copy's other end listens" grep -q ready "$OUT/sink.out"
# timed LABEL COMMAND...: runs it, and keeps when; the last segments of one must not be taken for the next.
timed() {
  local label=$1 from
  shift
  from=$(clock_us)
  "$@" >"$OUT/$label.out" 2>"$OUT/$label.err" || fail "$label: \`$*\` gave $?"
  echo "$label $from $(clock_us)" >>"$OUT/timed"
  sleep 0.3
}
copy() { timed "$1" "$NETLAB" exec a -- python3 "$LAB/tools/wire.py" copy 10.77.0.2 9000 "$2"; }
for rate in 100mbit 1gbit; do
  # Anew: it knows nothing of the path.
  stop a
  node a "$NETLAB" exec a -- -- --no-discovery --no-alsa --no-jack --peer "10.77.0.2:$(field b tcp)"
  linked a b
  eventually 5 "a sees b's port" has_port a "Synth @ b" destination
  "$NETLAB" impair a b --delay 0.2ms --rate $rate
  for ((n = 0; n < rounds; n++)); do
    copy "words-$rate-$n" $words
    timed "dump-$rate-$n" at a send --json --file "$OUT/large.syx" --to 'Synth @ b'
    copy "bytes-$rate-$n" $bytes
  done
done
equal "dumps that failed" 0 "$(metric a nonrealtime_failed)"
stop wire
stop sink
ratios=$(python3 - "$OUT" "$LAB" $rounds 100mbit 1gbit 2>"$OUT/table.log" <<'P'
import statistics, sys
out, lab, rounds, rates = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
sys.path.insert(0, lab + "/tools")
import wire

timed = {label: (int(start), int(end)) for label, start, end in map(str.split, open(out + "/timed"))}
names = {"dump": "10 MB of SysEx", "words": "bare, as many words", "bytes": "bare, 10 MB"}
print(f"{'link':8} {'what':20} {'on the wire, s':>14} {'Mbit/s there':>12} {'MB there':>8} {'program, s':>10}", file=sys.stderr)
for rate in rates:
    median = {}
    for kind, name in names.items():
        rows = []
        for n in range(rounds):
            start, end = timed[f"{kind}-{rate}-{n}"]
            middle, whole = wire.passage(f"{out}/wire.out", start, end)
            # Of all of it, at the speed of the middle.
            seconds = (middle[-1][0] - middle[0][0]) / 1e6 * whole / (middle[-1][1] - middle[0][1])
            rows.append((seconds, whole * 8e-6 / seconds, whole / 1e6, (end - start) / 1e6))
        median[kind] = [statistics.median(column) for column in zip(*rows)]
        print("{:8} {:20} {:14.3f} {:12.1f} {:8.2f} {:10.2f}".format(rate, name, *median[kind]), file=sys.stderr)
    ratios = {kind: median[kind][0] / median["dump"][0] for kind in ("words", "bytes")}
    whole = median["bytes"][3] / median["dump"][3]
    print(f"{rate:8} the tunnel's speed to a bare copy's: {ratios['words']:.2f} of as many words, {ratios['bytes']:.2f} of as many "
          f"bytes of SysEx; with all that the programs do, {whole:.2f}", file=sys.stderr)
    print(round(ratios["bytes"], 3))
P
) || fail "$(cat "$OUT/table.log")"
cat "$OUT/table.log"
{ read -r slow && read -r fast; } <<<"$ratios"
within "speed at 100 Mbit/s to that of a bare TCP copy" 0.8 "$slow" 1.2
within "speed at 1 Gbit/s to that of a bare TCP copy" 0.6 "$fast" 1.2
