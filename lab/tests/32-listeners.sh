#!/usr/bin/env bash
# Two nodes listen to a program that dumps 100 SysEx of 5,000 bytes and one of 10 MB to nobody in particular,
# over 5 % loss; the cable of one is pulled meanwhile. The other has all without waiting for it, and in the
# end both have all, once, in order, equal.
# limit: 90
. "$LAB/lib.sh"

network 3
for host in b c; do
  node $host "$NETLAB" exec $host -- -- --no-discovery --no-alsa --no-jack
done
# They are not linked with each other.
"$NETLAB" impair b c --down
node a "$NETLAB" exec a -- -- --no-discovery --no-alsa --no-jack --app-port Dumps \
  --peer "10.77.0.2:$(field b tcp)" --peer "10.77.0.3:$(field c tcp)"
bad="--delay 3ms --loss 5% --rate 100mbit"
for host in b c; do
  linked a $host
  eventually 5 "$host sees a's port" has_port $host "Dumps @ a" source
  listen "heard-$host" $host "Dumps @ a"
  # shellcheck disable=SC2086 # options
  "$NETLAB" impair a $host $bad || fail "impair $bad"
done
python3 "$LAB/tools/dumps.py" make "$OUT/many.syx" 100 5000 1
python3 "$LAB/tools/dumps.py" make "$OUT/large.syx" 1 10000000 2

# interface NODE rx|tx: the bytes that its interface received or sent. has_got NODE BYTES: whether so many.
interface() { "$NETLAB" exec "$1" -- cat "/sys/class/net/eth0/statistics/$2_bytes"; }
has_got() { [ "$(interface "$1" rx)" -ge "$2" ]; }
memory() { awk -v key="$2:" '$1 == key { print $2 }' "/proc/$(field "$1" pid)/status"; }
all_heard() { [ "$(grep -c '"sysex"' "$OUT/heard-$1.out")" -ge 101 ]; }
is_away() { ! is_linked a c; }
show_memory() { say "$1, KiB: a $(memory a "$2"), b $(memory b "$2"), c $(memory c "$2")"; }

show_memory "memory before" VmRSS
sent=$(interface a tx) got=$(interface c rx) began=$(now)
start_at dumps a send --json --port Dumps --file "$OUT/many.syx" --file "$OUT/large.syx"
eventually 30 "c has got 3 MB" has_got c $((got + 3000000))
# shellcheck disable=SC2086 # options
"$NETLAB" impair a c $bad --down
eventually 12 "c is away" is_away
eventually 20 "b has heard all, though c is away" all_heard b
say "seconds until then: $(since "$began")"
check "c has not" sh -c "! [ \$(grep -c '\"sysex\"' '$OUT/heard-c.out') -ge 101 ]"
check "send waits for it" alive dumps
# shellcheck disable=SC2086 # options
"$NETLAB" impair a c $bad
eventually 30 "c has heard all" all_heard c
finish dumps 15 || fail "send gave $?"
sleep 0.5
for host in b c; do
  check "what $host heard is what was sent" python3 "$LAB/tools/dumps.py" same "$OUT/heard-$host.out" "$OUT/many.syx" "$OUT/large.syx"
done
# 10.5 MB for each of the two. Frames, TCP and a twentieth again come to it, and what was on its way to c when
# its cable went.
within "bytes that a sent to those of the SysEx" 1 \
  "$(python3 -c 'import sys; print(round(int(sys.argv[1]) / 21e6, 3))' $(($(interface a tx) - sent)))" 1.45
show_memory "memory at most" VmHWM
show_memory "memory afterwards" VmRSS
check "the message to c went on where it was" test "$(metric a nonrealtime_resumed)" -ge 1
equal "messages that failed" 0 "$(metric a nonrealtime_failed)"
check "b was linked all the time" sh -c "! grep -q 'link with b ended' '$OUT/a.err'"
