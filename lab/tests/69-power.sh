#!/usr/bin/env bash
# Nothing that was answered is lost when a node is killed while its routes are written (200 times: POWER=200).
# limit: 120
# root: no
. "$LAB/lib.sh"

place p
seed=${POWER_SEED:-$RANDOM}
say "seed $seed"
eval "${lab_at[p]}"'python3 "$LAB/tools/power.py" "${POWER:-20}" "$seed" -- "$MIDIP2P" up --json --name p --app-port Desk \
  --no-discovery --no-alsa --no-jack --port-udp 0 --port-tcp 0 --port-http 0 --state "$OUT/node"' \
  >"$OUT/power.out" 2>"$OUT/power.err" || fail "$(tail -n 1 "$OUT/power.err")"
cat "$OUT/power.out"
within "changes that were answered" 20 "$(json answered <"$OUT/power.out")" 1000000
equal "no half file is left" "" "$(ls "$OUT/node" | grep -E 'bad$' || true)"
