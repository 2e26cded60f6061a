#!/usr/bin/env bash
# Many nodes on one machine, told of one of them only: all are linked with all, once; some play to all others, and
# every note comes in time; what a node that nobody plays on needs; one is killed, one stopped, and all is whole again.
# NODES=64 PLAYERS=16 is the soak (`cargo xtask soak mesh`).
# limit: 900
# root: no
. "$LAB/lib.sh"

nodes=${NODES:-16}
players=${PLAYERS:-4}
seconds=10
watched=10

# up N: starts node nN, which knows the first, or that one.
up() {
  local options=()
  [ "$1" = 1 ] || options+=(--peer "127.0.0.1:$first")
  [ "$1" -gt "$players" ] || options+=(--app-port Keys)
  [ -n "${lab_at[n$1]:-}" ] || place "n$1"
  start_at "n$1" "n$1" up --json --name "n$1" --port-udp 0 --port-tcp "${2:-0}" --port-http 0 \
    --no-discovery --no-alsa --no-jack ${options[@]+"${options[@]}"}
}
# knows N COUNT: whether node nN is linked with so many others, and with each of them once.
knows() {
  at "n$1" peers --json | grep '"state":"connected"' | grep -o '"name":"[^"]*"' | sort >"$OUT/names"
  [ "$(wc -l <"$OUT/names")" = "$2" ] && [ "$(uniq "$OUT/names" | wc -l)" = "$2" ]
}
# whole COUNT N...: whether each of these nodes is linked with so many others.
whole() {
  local n count=$1
  shift
  for n; do knows "$n" "$count" || return 1; done
}
all=$(seq 1 "$nodes")

began=$(now)
up 1
ready n1 10
first=$(field n1 tcp)
for n in $all; do [ "$n" = 1 ] || up "$n"; done
# shellcheck disable=SC2086
eventually 180 "all $nodes nodes are linked with all others, once" whole $((nodes - 1)) $all
meshed=$(since "$began")
say "$((nodes * (nodes - 1) / 2)) links after $meshed s"

# In the first seconds clocks are compared, and the path MTU is found.
sleep 8
before=$(cpu "n$nodes") from=$(clock_us)
sleep "$watched"
idle=$(python3 -c 'import sys; ms, us = map(int, sys.argv[1:]); print(round(1e5 * ms / us, 2))' \
  $(($(cpu "n$nodes") - before)) $(($(clock_us) - from)))
say "an idle node needs $idle % of a core"

for n in $all; do listen "heard-n$n" "n$n"; done
reads() { at "n$1" ports --json | grep '"name":"Keys @ ' | wc -l; }
all_known() { local n; for n in $all; do [ "$(reads "$n")" -ge $((players - 1)) ] || return 1; done; }
eventually 30 "all know the ports of the players" all_known
sleep 2
# Ten notes are twenty events.
for ((n = 1; n <= players; n++)); do traffic "play-n$n" "n$n" Keys notes 20 "$seconds"; done
for ((n = 1; n <= players; n++)); do finish "play-n$n" 60 || fail "play-n$n"; done
sleep 3
for n in $all; do stop "heard-n$n" >/dev/null 2>&1; done
row=$(python3 "$LAB/tools/mesh.py" "$OUT" "$nodes" "$players")
say "$row"
{
  printf '| nodes | links | whole after, s | players | events | not played | stuck | p50 ms | p99 ms | p99.9 ms | max ms | idle node, %% of a core |\n'
  printf '|---|---|---|---|---|---|---|---|---|---|---|---|\n'
  python3 -c '
import json, sys
nodes, meshed, players, idle, row = sys.argv[1:]
r = json.loads(row)
print("|", " | ".join(map(str, (nodes, int(nodes) * (int(nodes) - 1) // 2, meshed, players,
    r["played"] + r["missing"], r["missing"], r["stuck"], r["p50"], r["p99"], r["p99.9"], r["max"], idle))), "|")
' "$nodes" "$meshed" "$players" "$idle" "$row"
} >"$OUT/table.md"

say "--- one is killed and starts again, one is stopped"
killed=$((nodes - 1)) stopped=$((nodes - 2))
kill -KILL "${lab_pid[n$killed]}"
wait "${lab_pid[n$killed]}" 2>/dev/null
stop "n$stopped" || fail "n$stopped did not stop as it should"
up "$killed"
ready "n$killed" 20
rest=$(for n in $all; do [ "$n" = "$stopped" ] || echo "$n"; done)
# shellcheck disable=SC2086
eventually 120 "the $((nodes - 1)) that are left are linked with all others, once" whole $((nodes - 2)) $rest

equal "events that were not played" 0 "$(json missing <<<"$row")"
equal "events that nobody sent" 0 "$(json extra <<<"$row")"
equal "notes that hang" 0 "$(json stuck <<<"$row")"
within "p99 in ms" 0 "$(json p99 <<<"$row")" 15
within "an idle node, % of a core" 0 "$idle" 1
