#!/usr/bin/env bash
# Notes are not late because a SysEx of 10 MB goes the same way on the same wired link: their p99 is at most
# 1 ms greater than without, where 1 Gbit/s, 100 Mbit/s in the network and 100 Mbit/s of a's own interface
# are what holds it up.
# limit: 240
. "$LAB/lib.sh"

# Notes flow all the time, and every few seconds a dump passes. A note is beside a dump when it was taken in
# while the dump's bytes came to b (lab/tools/wire.py): `send` and both nodes need longer to make, read and
# play its text than a fast link to carry it. The rest of that time has a row of its own, so that one sees
# what the processors add, and what a link does afterwards that was full. With and without come so from the
# same seconds of the same machine. A machine that does something else meanwhile is late with notes too, so a
# link is measured three times at most, and all of it is printed.
#
# In the network all wait in one queue, as in a switch, so notes pass quickly only if the tunnel does not
# fill it. A machine's own interface has several (here pfifo_fast's bands; often fq_codel), and what is
# marked as urgent goes first there. The nodes are started anew for each link: they know nothing of it.
links=("1 Gbit/s" "100 Mbit/s" "100 Mbit/s, own")
rates=("--rate 1gbit" "--rate 100mbit" "")
# Enough notes for a p99 in the tenth of a second that 1 Gbit/s needs.
per_second=(500 200 200)
dumps=(5 3 3)
most_ms=1

network 2 --rt
usual_tcp a b
say "the tunnel's congestion control: $usual_tcp"
python3 "$LAB/tools/dumps.py" make "$OUT/large.syx" 1 10000000 1
start wire chrt -f 50 "$NETLAB" exec b -- python3 "$LAB/tools/wire.py" watch

# measure LINK TRY: plays and dumps on one link.
measure() {
  local i=$1 n=$1-$2 label from
  node b "$NETLAB" exec b -- -- --no-discovery --no-alsa --no-jack --app-port Synth
  node a "$NETLAB" exec a -- -- --no-discovery --no-alsa --no-jack --app-port Keys --peer "10.77.0.2:$(field b tcp)"
  linked a b
  eventually 5 "a sees b's port" has_port a "Synth @ b" destination
  eventually 5 "b sees a's port" has_port b "Keys @ a" source
  listen "near-$n" a Keys
  listen "far-$n" b "Keys @ a"
  traffic "notes-$n" a Keys notes "${per_second[i]}" 60 4
  playing() { heard "far-$n" 50; }
  eventually 5 "notes flow at ${links[i]}" playing
  clock_us >"$OUT/began-$n"
  for ((dump = 0; dump < dumps[i]; dump++)); do
    sleep 1
    from=$(clock_us)
    at a send --json --file "$OUT/large.syx" --to 'Synth @ b' >"$OUT/send.out" 2>"$OUT/send.err" || fail "send gave $?"
    echo "$from $(clock_us)" >>"$OUT/dumps-$n"
  done
  # And so that what was seen of the wire is in the file.
  sleep 1
  clock_us >"$OUT/ended-$n"
  for label in notes near far; do stop "$label-$n"; done
  equal "dumps that failed" 0 "$(metric a nonrealtime_failed)"
  stop a
  stop b
}

for i in "${!links[@]}"; do
  # shellcheck disable=SC2086 # options
  "$NETLAB" impair a b --delay 0.2ms ${rates[i]} || fail "impair ${rates[i]}"
  if [ -z "${rates[i]}" ]; then
    "$NETLAB" exec a -- tc qdisc add dev eth0 root handle 1: tbf rate 100mbit burst 3kb latency 200ms &&
      "$NETLAB" exec a -- tc qdisc add dev eth0 parent 1:1 pfifo_fast || fail "tc cannot shape a's interface"
  fi
  for try in 1 2 3; do
    measure "$i" "$try"
    python3 "$LAB/tools/beside.py" "$OUT" "$i-$try" "$most_ms" "${links[i]}" && continue 2
  done
  fail "notes are late beside a dump at ${links[i]}"
done
stop wire
