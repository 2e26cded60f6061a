#!/usr/bin/env bash
# What one time is good for: four nodes sound one chord together, and a sequencer's clock stays even, both through ±8 ms of
# jitter. Each node takes itself for another machine, so that it has to find out what the others' clocks show.
# limit: 150
. "$LAB/lib.sh"

network 5 --rt
"$NETLAB" impair all --delay 12ms --jitter 8ms --seed 7
elsewhere() { # NAME [OPTIONS...]
  local name=$1
  shift
  python3 -c 'import uuid; print(uuid.uuid4())' >"$OUT/boot-$name"
  node "$name" "$NETLAB" exec "$name" -- chrt -f 30 "$LAB/skew/elsewhere.sh" "$OUT/boot-$name" env -- \
    --no-discovery --no-alsa --no-jack "$@"
}
elsewhere a --app-port Keys
others=(b c d e)
for name in "${others[@]}"; do
  elsewhere "$name" --peer "10.77.0.1:$(field a tcp)" --playout monitor=scheduled=45
done
for name in "${others[@]}"; do
  linked "$name" a
  eventually 5 "$name sees a's port" has_port "$name" "Keys @ a" source
  listen "far-$name" "$name" "Keys @ a"
done
listen near a Keys
locked() { [ "$(at "$1" clock --json | json locked)" = true ]; }
for name in a "${others[@]}"; do eventually 15 "$name has the time" locked "$name"; done
sleep 6
for name in "${others[@]}"; do say "$name: ± $(at "$name" clock --json | json deviation_us) us"; done

traffic chords a Keys notes 40 15 4
finish chords 30 || fail "the notes: $(cat "$OUT/chords.err")"
sleep 1
ticks_from=$(clock_us)
traffic ticks a Keys ticks 120 12
finish ticks 30 || fail "the clock: $(cat "$OUT/ticks.err")"
sleep 1
for name in near far-b far-c far-d far-e; do stop "$name"; done

figures=$(python3 - "$LAB" "$OUT" "$ticks_from" <<'P'
import sys
sys.path.insert(0, sys.argv[1] + "/tools")
import jsonmidi
start = int(sys.argv[3])
quantile = lambda values, q: sorted(values)[min(len(values) - 1, int(len(values) * q))]
heard = {n: list(jsonmidi.messages(f"{sys.argv[2]}/{n}.out")) for n in ("near", "far-b", "far-c", "far-d", "far-e")}
far = [n for n in heard if n != "near"]
notes = {n: {data: at for at, data in heard[n] if data[0] & 0xF0 in (0x80, 0x90)} for n in heard}
spreads, missing = [], 0
for data in notes["near"]:
    times = [notes[n][data] for n in far if data in notes[n]]
    missing += len(far) - len(times)
    if len(times) == len(far) and data[0] & 0xF0 == 0x90:
        spreads.append(max(times) - min(times))
ticks = {n: [at for at, data in heard[n] if data == b"\xf8" and at >= start] for n in heard}
lost = sum(len(ticks["near"]) - len(ticks[n]) for n in far)
errors = []
for n in far:
    if len(ticks[n]) == len(ticks["near"]):
        pairs = zip(ticks[n], ticks[n][1:], ticks["near"], ticks["near"][1:])
        errors += [abs((b - a) - (d - c)) for a, b, c, d in pairs]
print(*(quantile(spreads, q) for q in (0.5, 0.99, 1)), len(spreads), missing,
      *(quantile(errors, q) if errors else -1 for q in (0.5, 0.99, 1)), len(errors), lost)
P
) || fail "no figures"
read -r p50 p99 max chords missing tick50 tick99 tickmax ticks lost <<<"$figures"
say "spread of a chord on four nodes: p50 $p50, p99 $p99, max $max us, of $chords; spacing of ticks: p50 $tick50, p99 $tick99, max $tickmax us, of $ticks"
equal "notes that a node did not play" 0 "$missing"
equal "ticks that a node did not play" 0 "$lost"
within "chords" 250 "$chords" 300
within "p99 of the spread of a chord, in us" 0 "$p99" 1000
# 200 is what is aimed at where the machine has time; what else runs here shows in one spacing of a hundred.
within "p99 of the error of a tick's spacing, in us" 0 "$tick99" 500
