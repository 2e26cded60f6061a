#!/usr/bin/env bash
# One time for all nodes: eight real ones whose clocks part by up to 100 ppm each way, over 10 ms ± 2 ms (normal law); then
# over 20 ± 8 ms, over a path that is slow one way, and with a leader that is killed, and one whose clock leaps.
# limit: 240
. "$LAB/lib.sh"

cc -shared -fPIC -O2 -Wall -o "$OUT/skew.so" "$LAB/skew/skew.c" -ldl 2>"$OUT/cc.err" || fail "cannot build the clock: $(cat "$OUT/cc.err")"
true_ns() { python3 -c 'import time; print(time.monotonic_ns())'; }

# clocked NAME PPM [PRIORITY] [LEAP_AT BY]: a node on a machine of its own, whose clock runs fast by so much.
declare -A skewed=()
clocked() {
  local name=$1 ppm=$2 priority=${3:-100} leap=() peers=()
  skewed[$name]=$ppm
  [ $# -gt 3 ] && { leap=("SKEW_LEAP_AT=$4" "SKEW_LEAP_BY=$5"); skewed[$name]="$ppm:$4:$5"; }
  [ -n "${first:-}" ] && peers=(--peer "10.77.0.1:$(field "$first" tcp)")
  python3 -c 'import uuid; print(uuid.uuid4())' >"$OUT/boot-$name"
  node "$name" "$NETLAB" exec "${name:0:1}" -- "$LAB/skew/elsewhere.sh" "$OUT/boot-$name" \
    env "LD_PRELOAD=$OUT/skew.so" "SKEW_T0=$t0" "SKEW_PPM=$ppm" ${leap[@]+"${leap[@]}"} -- \
    --no-discovery --no-alsa --no-jack --clock-priority "$priority" ${peers[@]+"${peers[@]}"}
  [ -n "${first:-}" ] || first=$name
}
# watch NAME...: writes down what the clocks of these nodes show, once a second.
watch() { local name; for name in "$@"; do start_at "clock-$name" "$name" clock --json --watch; done; }
# clocks FROM TO NAME...: sets p50, p99, max, honest, back, locked, leaders of the seconds FROM to TO after t0.
clocks() {
  local from=$1 to=$2 name words=()
  shift 2
  for name in "$@"; do words+=("$name=${skewed[$name]}=$OUT/clock-$name.out"); done
  figures=$(python3 "$LAB/tools/clocks.py" "$t0" "$from" "$to" "${words[@]}") || fail "no figures"
  say "  $figures"
  local key
  for key in p50 p99 max honest back locked leaders; do declare -g "$key=$(json "$key" <<<"$figures")"; done
}
seconds() { python3 -c 'import sys, time; print(round((time.monotonic_ns() - int(sys.argv[1])) / 1e9, 1))' "$t0"; }
stop_all() { local name; for name in "${!lab_pid[@]}"; do stop "$name" 5 >/dev/null 2>&1; done; first=; skewed=(); }
leader_of() { at "$1" clock --json | json leader.name; }
led_by() { local name=$1; shift; local n; for n in "$@"; do [ "$(leader_of "$n")" = "$name" ] || return 1; done; }

say "--- eight nodes, 2 ms of jitter, ±100 ppm"
network 8 --rt
"$NETLAB" impair all --delay 10ms --jitter 2ms --dist normal --loss 1% --seed 1
t0=$(true_ns)
ppm=(100 -100 71 -53 38 -24 11 -87)
names=(a b c d e f g h)
for n in 0 1 2 3 4 5 6 7; do clocked "${names[n]}" "${ppm[n]}"; done
eventually 15 "all follow the first, whose timeline is the oldest" led_by a "${names[@]}"
watch "${names[@]}"
from=$(python3 -c "print($(seconds) + 10)")
sleep 40
clocks "$from" 1000 "${names[@]}"
within "p99 of how far two are apart, in us" 0 "$p99" 300
within "share of bounds that hold" 0.99 "$honest" 1
within "share of moments in which a node was locked" 1 "$locked" 1
within "the greatest step back, in us" 0 "$back" 0
page=$(at c clock) || fail "clock gives $?"
say "$page"
grep -q "a leads the clock" <<<"$page" || fail "the page does not say who leads"
check "the metrics say it" grep -q '^midip2p_clock_locked 1' <(get c /metrics)

say "--- the leader is killed"
stop clock-a
kill -KILL "$(field a pid)"
began=$(seconds)
led_by_another() { local n l; for n in b c d e f g h; do l=$(leader_of "$n"); [ "$l" != a ] && [ "$l" = "${l0:=$l}" ] || { l0=; return 1; }; done; }
l0=
eventually 6 "another leads" led_by_another
took=$(python3 -c "print(round($(seconds) - $began, 2))")
within "seconds until all follow another (looking at seven takes some of it)" 0 "$took" 3.5
sleep 8
clocks "$began" 1000 b c d e f g h
within "the greatest step back, in us" 0 "$back" 0
within "share of bounds that hold" 0.99 "$honest" 1
within "how far two were ever apart meanwhile, in us" 0 "$max" 1000
within "share of moments in which a node was locked" 1 "$locked" 1
stop_all

say "--- 20 ± 8 ms"
"$NETLAB" clear
"$NETLAB" impair all --delay 20ms --jitter 8ms --seed 2
t0=$(true_ns)
clocked a 60; clocked b -60
eventually 15 "b follows a" led_by a b
watch a b
from=$(python3 -c "print($(seconds) + 10)")
sleep 22
clocks "$from" 1000 a b
within "p99 of how far they are apart, in us" 0 "$p99" 1000
within "share of bounds that hold" 0.99 "$honest" 1
stop_all

say "--- 30 ms there and 5 ms back: wrong by up to half of the difference, and it says so"
"$NETLAB" clear
"$NETLAB" impair a b --delay 30ms --oneway --jitter 1ms --seed 3
"$NETLAB" impair b a --delay 5ms --oneway --jitter 1ms --seed 4
t0=$(true_ns)
clocked a -20; clocked b 20
eventually 15 "b follows a" led_by a b
watch a b
from=$(python3 -c "print($(seconds) + 8)")
sleep 14
clocks "$from" 1000 a b
within "share of bounds that hold" 0.99 "$honest" 1
stop_all

say "--- a leader whose clock leaps by a second"
"$NETLAB" clear
"$NETLAB" impair all --delay 3ms --jitter 1ms --dist normal --seed 5
t0=$(true_ns)
clocked a 10 100 $((t0 + 22000000000)) 1000000000
clocked b -40; clocked c 30; clocked d 5
eventually 15 "all follow a" led_by a b c d
watch a b c d
led_by_another() { local n l; for n in b c d; do l=$(leader_of "$n"); [ "$l" != a ] && [ "$l" = "${l0:=$l}" ] || { l0=; return 1; }; done; }
sleep "$(python3 -c "print(max(0, 22 - $(seconds)))")"
l0=
eventually 5 "it is dropped" led_by_another
took=$(python3 -c "print(round($(seconds) - 22, 2))")
within "seconds until all others follow another" 0 "$took" 3
sleep 6
clocks 12 1000 b c d
within "the greatest step back of the others, in us" 0 "$back" 0
within "how far two of the others were ever apart, in us" 0 "$max" 1000
clocks 12 1000 a b c d
within "the greatest step back, its own too, in us" 0 "$back" 0
