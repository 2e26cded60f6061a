#!/usr/bin/env bash
# Every file of Debian's openttd-openmsx, as fast as it goes, arrives event by event as it was written.
# limit: 120
# root: no
. "$LAB/lib.sh"

openmsx
equal "events by a reader of our own tools" 173838 "$("$LAB/tools/smf.py" count "${openmsx[@]}" | awk '{n += $1} END {print n}')"

node b --no-discovery
node a --no-discovery --peer "127.0.0.1:$(field b tcp)"
linked a b
listen far b --port Far
eventually 5 "a sees b's port" has_port a "Far @ b" destination

began=$(now)
at a play --speed max --json --to "Far @ b" "${openmsx[@]}" >"$OUT/play.json" 2>"$OUT/play.err" || fail "play gave $?"
took=$(since "$began")
equal "files played" 31 "$(wc -l <"$OUT/play.json")"
equal "not acknowledged, by play" 0 "$(python3 -c '
import json, sys
print(sum(json.loads(line)["missing"] for line in open(sys.argv[1])))' "$OUT/play.json")"
eventually 10 "all has arrived" heard far 173838
stop far
"$LAB/tools/compare.py" events "$OUT/far.out" "${openmsx[@]}" >"$OUT/compare" 2>&1 || fail "$(cat "$OUT/compare")"
say "ok: $(cat "$OUT/compare")"
say "ok: 173,838 events in $took s, $(python3 -c "print(round(173838 / $took))") a second, start and end of the program included"
for key in realtime_repeated realtime_recovered realtime_duplicates; do
  say "$key: a $(metric a $key), b $(metric b $key)"
done
equal "dropped at b" 0 "$(metric b realtime_dropped)"
equal "overflow at b's port" 0 "$(metric b output_overflow)"
