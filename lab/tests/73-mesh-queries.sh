#!/usr/bin/env bash
# Ten nodes, linked all with all, are asked for /network/mesh a thousand times a second in all: each answer is whole,
# as the description has it, and names each other node once; the slowest of a hundred takes less than 10 ms.
# limit: 120
# root: no
. "$LAB/lib.sh"

peers=()
for n in 0 1 2 3 4 5 6 7 8 9; do
  node "n$n" --no-discovery --no-alsa --no-jack ${peers[@]+"${peers[@]}"}
  peers+=(--peer "127.0.0.1:$(field "n$n" tcp)")
done
all_linked() {
  local n
  for n in 0 1 2 3 4 5 6 7 8 9; do
    [ "$(at "n$n" peers --json | grep -c '"state":"connected"')" = 9 ] || return 1
  done
}
eventually 30 "ten nodes are linked all with all" all_linked
get n0 /openapi.json >"$OUT/openapi.json"

nodes=() before=0 after=0
for n in 0 1 2 3 4 5 6 7 8 9; do
  nodes+=("$(field "n$n" http),$(field "n$n" id),$(field "n$n" state)/token")
  before=$((before + $(cpu "n$n")))
done
"$LAB/tools/queries.py" 100 15 "$OUT/openapi.json" "${nodes[@]}" >"$OUT/figures.json" 2>"$OUT/queries.err" ||
  fail "$(cat "$OUT/queries.err")"
for n in 0 1 2 3 4 5 6 7 8 9; do after=$((after + $(cpu "n$n"))); done
say "$(cat "$OUT/figures.json"); the ten nodes used $(((after - before) / 15)) ms of CPU a second"
figure() { json "$1" <"$OUT/figures.json"; }
equal "answers, each checked" 15000 "$(figure answers)"
within "answers a second" 950 "$(figure per_second)" 1050
within "p99 in ms" 0 "$(figure p99_ms)" 10
all_linked || fail "a link was lost meanwhile"
