#!/usr/bin/env bash
# A node with 64 tunnels that nobody plays on needs less than a hundredth of a core. MANY=200 makes it 200,
# and says what they need: the hundredth is for 64.
# limit: 240
. "$LAB/lib.sh"

# The others are linked with that one alone. Nodes tell each other whom they know, but not by addresses that
# mean something on one interface only: so all links go over those of IPv6 (fe80::…%INTERFACE).
many=${MANY:-64}
seconds=20

network 2
node a "$NETLAB" exec a -- -- --no-discovery --no-alsa --no-jack
# For a second the kernel asks whether another has this address, and till then sends from others.
is_tentative() { "$NETLAB" exec "$1" -- ip -6 address show dev eth0 tentative | grep -q fe80; }
is_asked() { ! is_tentative a && ! is_tentative b; }
eventually 10 "both may use their link-local addresses" is_asked
address=$("$NETLAB" exec a -- ip -6 -o address show dev eth0 scope link | awk '{ sub("/.*", "", $4); print $4 }')
[ -n "$address" ] || fail "a's interface has no link-local address"
# Which of b's interfaces leads there, as a number.
address=$address%$("$NETLAB" exec b -- cat /sys/class/net/eth0/ifindex)
memory() { awk '/^VmRSS/ { print $2 }' "/proc/$(field a pid)/status"; }
threads() { awk '/^Threads/ { print $2 }' "/proc/$(field a pid)/status"; }
# cpu: ticks of a that all of its threads have had.
cpu() { awk '{ print $14 + $15 }' "/proc/$(field a pid)/stat"; }
# watched WHAT: the share of a core that a needs, in thousandths of it, in $share.
watched() {
  local ticks=$(cpu) from=$(clock_us)
  sleep $seconds
  share=$(python3 -c 'import sys; t, us, hz = map(int, sys.argv[1:]); print(round(1000 * t / hz / (us / 1e6), 2))' \
    $(($(cpu) - ticks)) $(($(clock_us) - from)) "$(getconf CLK_TCK)")
  say "$1: $share thousandths of a core, $(threads) threads, $(memory) KiB"
}
alone=$(memory)
say "alone: $(threads) threads, $alone KiB"

for ((n = 1; n <= many; n++)); do
  place "n$n" "$NETLAB" exec b --
  start_at "n$n" "n$n" up --json --name "n$n" --port-udp 0 --port-tcp 0 --port-http 0 \
    --no-discovery --no-alsa --no-jack --peer "[$address]:$(field a tcp)"
done
links() { at "$1" peers --json | grep -c '"state":"connected"'; }
all_linked() { [ "$(links a)" = "$many" ]; }
within_time 30 all_linked || fail "a has $(links a) links of $many"
equal "links of a" "$many" "$(links a)"
equal "links of another" 1 "$(links n1)"
# Clocks are compared, and the path MTU is found, in the first seconds.
sleep 8
# The same turns cost more while others use the processors and their caches.
for ((try = 0; try < 3; try++)); do
  watched "with $many tunnels"
  python3 -c 'import sys; sys.exit(float(sys.argv[1]) >= 10)' "$share" && break
done
equal "links of a afterwards" "$many" "$(links a)"
equal "links of another" 1 "$(links "n$many")"
check "none ended meanwhile" sh -c "! grep -q 'ended' '$OUT/a.err'"
within "KiB for each" 0 $((($(memory) - alone) / many)) 600
[ "$many" -gt 64 ] || within "thousandths of a core" 0 "$share" 10
