#!/usr/bin/env bash
# 100 SysEx of 5,000 bytes and one of 10 MB, over 5 % loss, with three pulled cables in between: all there,
# once, in order, equal; nothing that was there is sent again; memory flat. Then the banks of a DX7.
# limit: 170
. "$LAB/lib.sh"

network 2
node b "$NETLAB" exec b -- -- --no-discovery --no-alsa --no-jack --app-port Synth
node a "$NETLAB" exec a -- -- --no-discovery --no-alsa --no-jack --peer "10.77.0.2:$(field b tcp)"
linked a b
eventually 5 "a sees b's port" has_port a "Synth @ b" destination
bad="--delay 3ms --loss 5% --rate 100mbit"
"$NETLAB" impair a b $bad || fail "impair $bad"
python3 "$LAB/tools/dumps.py" make "$OUT/many.syx" 100 5000 1
python3 "$LAB/tools/dumps.py" make "$OUT/large.syx" 1 10000000 2

# sent_bytes: what a's interface has sent so far. rss NAME: resident KiB of its node.
sent_bytes() { "$NETLAB" exec a -- sh -c 'cat /sys/class/net/[!l]*/statistics/tx_bytes | paste -sd+ | bc' 2>/dev/null || "$NETLAB" exec a -- sh -c 'cat /sys/class/net/[!l]*/statistics/tx_bytes' | python3 -c 'import sys; print(sum(map(int, sys.stdin)))'; }
rss() { awk '/VmRSS/ { print $2 }' "/proc/$(field "$1" pid)/status"; }
has_sent() { [ "$(sent_bytes)" -ge "$1" ]; }
is_lost() { ! is_linked a b; }
# pull: the cable is out until both have noticed, and two seconds more.
pull() {
  "$NETLAB" impair a b $bad --down
  eventually 12 "the link is lost" is_lost
  sleep 2
  "$NETLAB" impair a b $bad
}

rss_a= rss_b=
for round in 1 2 3 4 5 6 7 8; do
  # The memory is judged on a network that takes no time.
  [ "$round" = 1 ] || "$NETLAB" impair a b --delay 1ms
  listen "heard$round" b --port Synth
  began=$(now) before=$(sent_bytes)
  start_at "many$round" a send --json --file "$OUT/many.syx" --to 'Synth @ b'
  eventually 20 "some messages have gone" has_sent $((before + 100000))
  [ "$round" != 1 ] || pull
  finish "many$round" 60 || fail "send gave $?"
  before=$(sent_bytes)
  start_at "large$round" a send --json --file "$OUT/large.syx" --to 'Synth @ b'
  if [ "$round" = 1 ]; then
    for mb in 2 7; do
      eventually 30 "$mb MB have gone" has_sent $((before + mb * 1000000))
      pull
    done
  fi
  finish "large$round" 90 || fail "send gave $?"
  say "round $round took $(since "$began") s"
  # Frames, TCP and 5 % sent again come to it, and what the pulled cables lost.
  within "MB that a sent for 10 MB" 10 "$(python3 -c "print(($(sent_bytes) - $before) / 1e6)")" 14
  eventually 10 "b has heard all" sh -c "[ \$(python3 '$LAB/tools/dumps.py' heard '$OUT/heard$round.out') -ge 101 ]"
  check "what was heard is what was sent" python3 "$LAB/tools/dumps.py" same "$OUT/heard$round.out" "$OUT/many.syx" "$OUT/large.syx"
  stop "heard$round"
  rss_a+=" $(rss a)" rss_b+=" $(rss b)"
done
say "memory after each round, KiB of a: $rss_a; of b: $rss_b"
# What the allocator keeps of one dump differs from round to round, by the length of a dump or two; what is
# kept for good would be more with each.
most() { printf '%s\n' "$@" | sort -n | tail -n 1; }
for of in "$rss_a" "$rss_b"; do
  read -ra kib <<<"$of"
  within "KiB by which the most of the last four rounds is above the most of the first four" \
    -100000 $(($(most "${kib[@]:4:4}") - $(most "${kib[@]:0:4}"))) 8000
done
resumed=$(metric a nonrealtime_resumed) failed=$(metric a nonrealtime_failed)
check "messages went on after a break ($resumed)" [ "$resumed" -ge 1 ]
equal "messages that failed" 0 "$failed"

say "--- the banks of a DX7"
hexter || skip "apt-get cannot download hexter"
banks=$(python3 "$LAB/tools/dumps.py" dx7 "$hexter" "$OUT/dx7.syx")
listen dx7 b --port Synth
at a send --file "$OUT/dx7.syx" --to 'Synth @ b' || fail "send gave $?"
eventually 5 "b has heard them" sh -c "[ \$(python3 '$LAB/tools/dumps.py' heard '$OUT/dx7.out') -ge $banks ]"
check "$banks banks arrive as they are" python3 "$LAB/tools/dumps.py" same "$OUT/dx7.out" "$OUT/dx7.syx"
