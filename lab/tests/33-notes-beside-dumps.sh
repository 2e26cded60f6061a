#!/usr/bin/env bash
# Notes are not late because a SysEx of 10 MB goes the same way on the same wired link: their p99 is at most
# 1 ms greater than without, where 1 Gbit/s, 100 Mbit/s in the network and 100 Mbit/s of a's own interface
# are what holds it up.
# limit: 130
. "$LAB/lib.sh"

# Notes flow all the time, and every few seconds a dump passes. A note is beside a dump when it was taken in
# while the dump's bytes came to b (lab/tools/wire.py): `send` and both nodes need longer to make, read and
# play its text than a fast link to carry it. The rest of that time has a row of its own, so that one sees
# what the processors add, and what a link does afterwards that was full. With and without come so from the
# same seconds of the same machine.
#
# In the network all wait in one queue, as in a switch, so notes pass quickly only if the tunnel does not
# fill it. A machine's own interface has several (here pfifo_fast's bands; often fq_codel), and what is
# marked as urgent goes first there.
links=("1 Gbit/s" "100 Mbit/s" "100 Mbit/s, own")
rates=("--rate 1gbit" "--rate 100mbit" "")
# Enough notes for a p99 in the tenth of a second that 1 Gbit/s needs.
per_second=(500 100 100)
dumps=(6 5 5)
most_ms=1

network 2 --rt
usual_tcp a b
say "the tunnel's congestion control: $usual_tcp"
node b "$NETLAB" exec b -- -- --no-discovery --no-alsa --no-jack --app-port Synth
node a "$NETLAB" exec a -- -- --no-discovery --no-alsa --no-jack --app-port Keys --peer "10.77.0.2:$(field b tcp)"
linked a b
eventually 5 "a sees b's port" has_port a "Synth @ b" destination
eventually 5 "b sees a's port" has_port b "Keys @ a" source
python3 "$LAB/tools/dumps.py" make "$OUT/large.syx" 1 10000000 1
start wire chrt -f 50 "$NETLAB" exec b -- python3 "$LAB/tools/wire.py" watch

for i in "${!links[@]}"; do
  # shellcheck disable=SC2086 # options
  "$NETLAB" impair a b --delay 0.2ms ${rates[i]} || fail "impair ${rates[i]}"
  if [ -z "${rates[i]}" ]; then
    "$NETLAB" exec a -- tc qdisc add dev eth0 root handle 1: tbf rate 100mbit burst 3kb latency 200ms &&
      "$NETLAB" exec a -- tc qdisc add dev eth0 parent 1:1 pfifo_fast || fail "tc cannot shape a's interface"
  fi
  listen "near-$i" a Keys
  listen "far-$i" b "Keys @ a"
  traffic "notes-$i" a Keys notes "${per_second[i]}" 60 4
  playing() { heard "far-$i" 50; }
  eventually 5 "notes flow at ${links[i]}" playing
  clock_us >"$OUT/began-$i"
  for ((n = 0; n < dumps[i]; n++)); do
    sleep 1
    from=$(clock_us)
    at a send --json --file "$OUT/large.syx" --to 'Synth @ b' >"$OUT/send.out" 2>"$OUT/send.err" || fail "send gave $?"
    echo "$from $(clock_us)" >>"$OUT/dumps-$i"
  done
  sleep 1
  clock_us >"$OUT/ended-$i"
  for label in notes near far; do stop "$label-$i"; done
done
equal "dumps that failed" 0 "$(metric a nonrealtime_failed)"
stop wire

say "one way in ms, from a's real-time thread to b's (both stamp CLOCK_MONOTONIC), beyond the network's 0.2"
python3 - "$OUT" "$LAB" $most_ms "${links[@]}" <<'P' || fail "see the lines that begin with !"
import sys
out, lab, most = sys.argv[1], sys.argv[2], float(sys.argv[3])
sys.path.insert(0, lab + "/tools")
import delays, jsonmidi, wire

WITHOUT, BESIDE, AROUND = "without a dump", "while one passes", "just before and after"
# More than this without a dump, and the other rows say nothing of the dumps.
BASE_MOST_MS = 3.0
bad = []

def passing(start, end):
    """When the bytes of a dump that was sent between these times came."""
    middle, _ = wire.passage(f"{out}/wire.out", start, end)
    first, last = middle[0][0], middle[-1][0]
    return first - (last - first) // 98, last + (last - first) // 98

def inside(at, spans):
    return any(start <= at <= end for start, end in spans)

print(f"{'link':16} {'notes':22} {'events':>6} {'p50':>7} {'p99':>7} {'max':>7}")
for number, link in enumerate(sys.argv[4:]):
    began, ended = (int(open(f"{out}/{name}-{number}").read()) for name in ("began", "ended"))
    near = [m for m in jsonmidi.messages(f"{out}/near-{number}.out") if began <= m[0] <= ended]
    known = {data for _, data in near}
    far = [m for m in jsonmidi.messages(f"{out}/far-{number}.out") if m[0] >= began and m[1] in known]
    report, took = delays.report(0.2, near, far)
    sent = [tuple(map(int, line.split())) for line in open(f"{out}/dumps-{number}")]
    passed = [passing(*span) for span in sent]
    rows = {WITHOUT: [], BESIDE: [], AROUND: []}
    for at, delay in took:
        rows[BESIDE if inside(at, passed) else AROUND if inside(at, sent) else WITHOUT].append(delay)
    p99 = {}
    for row, values in rows.items():
        values.sort()
        p50, p99[row], worst = (delays.quantile(values, share) for share in (0.5, 0.99, 1))
        print(f"{link:16} {row:22} {len(values):6} {p50:7} {p99[row]:7} {worst:7}")
    print(f"{link:16} {len(passed)} dumps passed in {sum(end - start for start, end in passed) / 1e6:.2f} s together")
    if p99[WITHOUT] > BASE_MOST_MS:
        bad.append(f"{link}: p99 without a dump is {p99[WITHOUT]} ms: the machine is too busy, or a dump has effects afterwards")
    for row in (BESIDE, AROUND):
        more = p99[row] - p99[WITHOUT]
        if more > most:
            bad.append(f"{link}: p99 {row} is {more:.2f} ms greater than without; {most} may be")
    if report["missing"] or report["extra"]:
        bad.append(f"{link}: {report['missing']} events were not played, {report['extra']} twice")
for line in bad:
    print("!", line)
sys.exit(bool(bad))
P
