#!/usr/bin/env bash
# Notes are not late because a SysEx of 10 MB goes the same way on the same wired link, of 1 Gbit/s and of
# 100 Mbit/s: their p99 is at most 1 ms greater than without.
# limit: 110
. "$LAB/lib.sh"

# Notes flow all the time, and every few seconds a dump passes. A note counts as beside a dump when it was
# taken in while the dump's bytes came to b (lab/tools/wire.py): `send` and the node need seconds to make and
# read its text, and a link of 1 Gbit/s carries it in a ninth of a second. The notes of that time, when only
# processors are busy, have a row of their own and are not judged. With and without are so from the same
# seconds of the same machine.
rates=(1gbit 100mbit)
per_second=(500 100)
dumps=(8 6)
most_ms=1

network 2 --rt
# What nearly every Linux has, whatever this one was given. It fills queues more than others do.
for host in a b; do
  "$NETLAB" exec $host -- sysctl -qw net.ipv4.tcp_congestion_control=${TCP:-cubic} || fail "no such congestion control"
done
node b "$NETLAB" exec b -- -- --no-discovery --no-alsa --no-jack --app-port Synth
node a "$NETLAB" exec a -- -- --no-discovery --no-alsa --no-jack --app-port Keys --peer "10.77.0.2:$(field b tcp)"
linked a b
eventually 5 "a sees b's port" has_port a "Synth @ b" destination
eventually 5 "b sees a's port" has_port b "Keys @ a" source
python3 "$LAB/tools/dumps.py" make "$OUT/large.syx" 1 10000000 1
start wire chrt -f 50 "$NETLAB" exec b -- python3 "$LAB/tools/wire.py" watch

for i in "${!rates[@]}"; do
  rate=${rates[i]}
  "$NETLAB" impair a b --delay 0.2ms --rate "$rate" || fail "impair"
  listen "near-$rate" a Keys
  listen "far-$rate" b "Keys @ a"
  traffic "notes-$rate" a Keys notes "${per_second[i]}" 60 4
  playing() { heard "far-$rate" 50; }
  eventually 5 "notes flow at $rate" playing
  : >"$OUT/dumps-$rate"
  clock_us >"$OUT/began-$rate"
  for ((n = 0; n < dumps[i]; n++)); do
    sleep 1.5
    from=$(clock_us)
    at a send --json --file "$OUT/large.syx" --to 'Synth @ b' >"$OUT/send.out" 2>"$OUT/send.err" || fail "send gave $?"
    echo "$from $(clock_us)" >>"$OUT/dumps-$rate"
  done
  sleep 1
  clock_us >"$OUT/ended-$rate"
  stop "notes-$rate"
  stop "near-$rate"
  stop "far-$rate"
done
equal "dumps that failed" 0 "$(metric a nonrealtime_failed)"
stop wire

say "one way in ms, from a's real-time thread to b's (both stamp CLOCK_MONOTONIC), beyond the network's 0.2"
python3 - "$OUT" "$LAB" $most_ms "${rates[@]}" <<'P' || fail "see the lines that begin with !"
import sys
out, lab, most = sys.argv[1], sys.argv[2], float(sys.argv[3])
sys.path.insert(0, lab + "/tools")
import delays, jsonmidi, wire

bad = []
print(f"{'link':8} {'notes':24} {'events':>6} {'p50':>7} {'p99':>7} {'max':>7}")
for rate in sys.argv[4:]:
    began, ended = (int(open(f"{out}/{name}-{rate}").read()) for name in ("began", "ended"))
    near = [m for m in jsonmidi.messages(f"{out}/near-{rate}.out") if began <= m[0] <= ended]
    far = [m for m in jsonmidi.messages(f"{out}/far-{rate}.out") if m[0] >= began]
    known = {data for _, data in near}
    report, took = delays.report(0.2, near, [m for m in far if m[1] in known])
    sent = [tuple(map(int, line.split())) for line in open(f"{out}/dumps-{rate}")]
    passing = []
    for start, end in sent:
        middle, _ = wire.passage(f"{out}/wire.out", start, end)
        passing.append((middle[0][0], middle[-1][0]))

    def within(at, spans):
        return any(start <= at <= end for start, end in spans)

    rows = {"without a dump": [], "while one passes": [], "while its text is read": []}
    for at, delay in took:
        row = "while one passes" if within(at, passing) else "while its text is read" if within(at, sent) else "without a dump"
        rows[row].append(delay)
    p99 = {}
    for row, values in rows.items():
        values.sort()
        p50, p99[row], worst = (delays.quantile(values, share) for share in (0.5, 0.99, 1))
        print(f"{rate:8} {row:24} {len(values):6} {p50:7} {p99[row]:7} {worst:7}")
    seconds = sum(end - start for start, end in passing) / 1e6
    print(f"{rate:8} {len(passing)} dumps passed in {seconds:.2f} s together")
    more = p99["while one passes"] - p99["without a dump"]
    if more > most:
        bad.append(f"{rate}: p99 is {more:.2f} ms greater while a dump passes; {most:.0f} may be")
    if report["missing"] or report["extra"]:
        bad.append(f"{rate}: {report['missing']} events were not played, {report['extra']} twice")
for line in bad:
    print("!", line)
sys.exit(bool(bad))
P
