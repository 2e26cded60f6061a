#!/usr/bin/env bash
# The doctor in a network of its own: all is well; a port that another program has; no multicast; datagrams that
# something drops; no network at all. It says so, what to do next, and by its exit code; and never takes long.
# limit: 60
. "$LAB/lib.sh"

network 2

# doctor LABEL: runs it on machine a, in at most 10 s; its report: $OUT/LABEL.json, its exit code: $code
doctor() {
  timeout 10 env XDG_STATE_HOME="$OUT" XDG_RUNTIME_DIR="$OUT" "$NETLAB" exec a -- "$MIDIP2P" doctor --json \
    >"$OUT/$1.json" 2>"$OUT/$1.err"
  code=$?
  [ "$code" -lt 2 ] || fail "doctor ($1) ended with $code: $(cat "$OUT/$1.err")"
}

# finding LABEL CHECK KEY: what a finding says; nothing, if there is none.
finding() {
  python3 -c 'import json, sys
found = [f for f in json.load(open(sys.argv[1]))["findings"] if f["check"] == sys.argv[2]]
print(" ".join(f.get(sys.argv[3], "") for f in found))' "$OUT/$1.json" "$2" "$3"
}

say "--- all is well"
doctor well
equal "exit code" 0 "$code"
equal "UDP port 5004" free "$(finding well 'UDP port 5004' seen)"
equal "datagrams on eth0, by IPv4 and IPv6" "ok ok" "$(finding well 'datagrams on eth0' state)"
equal "multicast on eth0" ok "$(finding well 'multicast on eth0' state)"

say "--- another program has the port"
start squatter "$NETLAB" exec a -- python3 -c 'import socket, signal
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 5004))
print("bound", flush=True)
signal.pause()'
within_time 10 grep -q bound "$OUT/squatter.out" || fail "the port was not taken"
doctor taken
equal "exit code: a node takes another" 0 "$code"
equal "UDP port 5004" warning "$(finding taken 'UDP port 5004' state)"
check "it says who" grep -q 'python3 (process [0-9]*)' <<<"$(finding taken 'UDP port 5004' seen)"
check "and what to do" grep -q -- '--port-udp' <<<"$(finding taken 'UDP port 5004' next)"
stop squatter

say "--- a node of ours has it"
place keys "$NETLAB" exec a --
start_at keys keys up --json --name keys --no-alsa --no-jack --no-config
ready keys 10
at keys doctor --json >"$OUT/ours.json" || fail "doctor beside a node: $?"
equal "UDP port 5004" 'the node "keys" has it' "$(finding ours 'UDP port 5004' seen)"
equal "the node" ok "$(finding ours 'node "keys"' state)"
say "--- it stands still"
kill -STOP "$(field keys pid)"
at keys doctor --json >"$OUT/still.json"
equal "exit code" 1 "$?"
equal "the node" problem "$(finding still 'node "keys"' state)"
kill -CONT "$(field keys pid)"
stop keys

say "--- no multicast"
"$NETLAB" exec a -- ip link set eth0 multicast off
doctor deaf
equal "multicast" warning "$(finding deaf multicast state)"
check "what to do" grep -q -- --peer <<<"$(finding deaf multicast next)"
"$NETLAB" exec a -- ip link set eth0 multicast on

say "--- something drops datagrams, as a firewall does (here: a queue that nothing fits)"
"$NETLAB" exec a -- tc qdisc add dev lo root tbf rate 1kbit burst 10 limit 1 || fail "tc"
doctor dropped
equal "exit code" 1 "$code"
equal "datagrams on eth0" "problem problem" "$(finding dropped 'datagrams on eth0' state)"
check "what was seen" grep -q 'nothing came' <<<"$(finding dropped 'datagrams on eth0' seen)"
check "what to do" grep -q firewall <<<"$(finding dropped 'datagrams on eth0' next)"
"$NETLAB" exec a -- tc qdisc del dev lo root

say "--- no network"
"$NETLAB" exec a -- ip link set eth0 down
doctor alone
equal "network" warning "$(finding alone network state)"
equal "exit code" 0 "$code"
