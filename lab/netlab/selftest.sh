#!/bin/bash
# Shows that every impairment does what it says, from real UDP traffic. About 70 s; needs root.
# Uses its own lab, so it can run beside others. RT=1 runs the switch and probes under SCHED_FIFO.
set -u
here=$(cd "$(dirname "$0")" && pwd); export NETLAB_NAME=selftest
N=${NETLAB:?the built netlab program}; P=$(dirname "$N")/examples/probe
F=; UP=; [ -n "${RT:-}" ] && { F="chrt -f 50"; UP=--rt; }
trap '$N down' EXIT
$N down; $N up 4 $UP
flow() { # flow FROM TO COUNT GAP_US
  local ip="10.77.0.$(($(printf %d "'$2") - 96))"
  $F $N exec "$2" -- $P recv 5001 $(($3 * $4 / 1000000 + 2)) & local r=$!
  sleep 0.3; $F $N exec "$1" -- $P send "$ip" 5001 "$3" "$4"; wait $r
}
t() { echo; echo "## $1"; $N clear; shift; [ $# -gt 0 ] && $N impair "$@"; }
t "no impairment";                               flow a b 3000 1000
t "delay 20ms" a b --delay 20ms;                 flow a b 3000 1000
t "delay 20ms jitter 8ms (reorders)" a b --delay 20ms --jitter 8ms; flow a b 3000 1000
t "the same, order kept" a b --delay 20ms --jitter 8ms --keep-order; flow a b 3000 1000
t "loss 5%, random" a b --loss 5% --seed 1;      flow a b 6000 500
t "loss 5%, bursts of 4" a b --loss 5% --burst 4 --seed 1; flow a b 6000 500
t "the same seed again: same loss" a b --loss 5% --burst 4 --seed 1; flow a b 6000 500
t "Gilbert-Elliott 1%,25%,0.1%,80%" a b --ge 1%,25%,0.1%,80%; flow a b 6000 500
t "duplicates 10%" a b --dup 10%;                flow a b 3000 1000
t "10% held back by 5ms" a b --reorder 10% --reorder-by 5ms; flow a b 3000 1000
t "rate 500kbit, queue 100ms (offered 720 kbit/s)" a b --rate 500kbit --queue 100ms; flow a b 3000 1000
t "asymmetric: a to b 30ms, b to a 5ms" a b --delay 30ms --oneway; $N impair b a --delay 5ms --oneway
flow a b 500 1000; flow b a 500 1000
t "partition a|b only" a b --down;               flow a b 200 1000; flow a c 200 1000
$N clear
echo; echo "## multicast 224.0.0.251:5353 from a"
for x in b c d; do $N exec $x -- python3 "$here/mcast.py" recv 224.0.0.251 5353 2 & p="${p:-} $!"; done
sleep 0.8; $N exec a -- python3 "$here/mcast.py" send 224.0.0.251 5353; wait $p
echo; echo "## cable pulled at b (carrier), then interface down"
$N carrier b off; $N exec b -- ip -br link show eth0; $N carrier b on; $N exec b -- ip -br link show eth0
$N link b down; $N exec b -- ping -c1 -W1 10.77.0.1 2>&1 | tail -1; $N link b up; sleep 0.5
$N exec b -- ping -c1 -W1 10.77.0.1 | tail -1
echo; echo "## another machine's clock: CLOCK_MONOTONIC in a, and in b shifted by 5000 s"
for o in "a" "b --mono-offset 5000"; do $N exec $o -- cut -d' ' -f1 /proc/uptime; done
$N exec b --mono-offset 5000 -- python3 -c 'import time; print("monotonic", time.monotonic())'
echo; $N stats | head -3
