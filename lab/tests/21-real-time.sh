#!/usr/bin/env bash
# Twenty seconds of music at their own speed: how far each event is from its time at the far end.
# limit: 60
# root: no
. "$LAB/lib.sh"

openmsx
"$LAB/tools/smf.py" cut 20 "${openmsx[0]}" "$OUT/cut.mid"
node b --no-discovery
node a --no-discovery --peer "127.0.0.1:$(field b tcp)"
linked a b
listen far b --port Far
eventually 5 "a sees b's port" has_port a "Far @ b" destination
at a play --json --to "Far @ b" "$OUT/cut.mid" >"$OUT/play.json" 2>"$OUT/play.err" || fail "play gave $?"
eventually 5 "all has arrived" heard far "$("$LAB/tools/smf.py" count "$OUT/cut.mid" | cut -d' ' -f1)"
stop far
"$LAB/tools/compare.py" timing "$OUT/far.out" "$OUT/cut.mid" >"$OUT/timing" 2>&1 || fail "$(cat "$OUT/timing")"
read -r p50 p99 max events seconds drift <"$OUT/timing"
say "$(basename "${openmsx[0]}"): $events events in $seconds s"
say "timing error at b, without what is common to all: p50 $p50 ms, p99 $p99 ms, max $max ms; drift $drift ms"
say "lateness when a sent them, in us: $(json late_us <"$OUT/play.json")"
# A busy machine delays single events at will; half of them it does not.
within "median timing error in ms" 0 "$p50" 2
