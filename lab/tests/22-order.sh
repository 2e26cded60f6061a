#!/usr/bin/env bash
# Files whose order matters keep it, on a good network and (each channel by itself) on a bad one: GM on,
# bank, program, note.
# limit: 150
. "$LAB/lib.sh"

files=("$PWD/crates/node/tests/data/order.mid")
if midi_msg; then
  check "the crate midi-msg has its 9 files" test "${#midi_msg[@]}" = 9
  files+=("${midi_msg[@]}")
else
  say "NOT SHOWN: the files of the crate midi-msg, which cargo could not fetch"
fi

# play_and_compare HOW LABEL SPEED FILE...: from a to b; HOW is a way of compare.py.
play_and_compare() {
  local how=$1 label=$2 speed=$3 wanted
  shift 3
  wanted=$("$LAB/tools/smf.py" count "$@" | awk '{n += $1} END {print n}')
  listen "$label" b --port Far
  eventually 5 "a sees b's port" has_port a "Far @ b" destination
  at a play --speed "$speed" --json --to "Far @ b" "$@" >"$OUT/$label.json" 2>"$OUT/$label.play.err" ||
    fail "play gave $?"
  within_time 10 heard "$label" "$wanted"
  stop "$label"
  if ! "$LAB/tools/compare.py" "$how" "$OUT/$label.out" "$@" >"$OUT/$label.compare" 2>&1; then
    # Whoever waited 20 ms for what is before it on its channel is played without it, and counted.
    [ "$how" = strands ] && [ "$(early)" -gt "$early_before" ] ||
      fail "$label: $(cat "$OUT/$label.compare")"
    say "$label: $(cat "$OUT/$label.compare"); played before one that was late: $(($(early) - early_before))"
    return
  fi
  say "ok: $label: $(cat "$OUT/$label.compare")"
}

# moved LABEL KIND: how many of a kind were not at their place; expired: what b counted.
moved() { grep -o "$2 [0-9]*" "$OUT/$1.compare" | cut -d' ' -f2 | grep . || echo 0; }
expired() { at b peers --json | json bulk_wait_expired; }
early() { at b peers --json | json played_early; }

network 2
node b "$NETLAB" exec b -- -- --no-discovery
node a "$NETLAB" exec a -- -- --no-discovery --peer "10.77.0.2:$(field b tcp)"
linked a b
# Without time between them, F8 to FF may pass a SysEx that is still on its way: they may stand inside it.
play_and_compare lanes good-network max "${files[@]}"
say "SysEx not at their place: $(moved good-network sysex); events that waited in vain for one: $(expired)"
equal "SysEx not at their place" 0 "$(moved good-network sysex)"
play_and_compare events good-network-in-time 1 "${files[0]}"

"$NETLAB" impair a b --loss 5% --delay 8ms --jitter 8ms --seed 11
small=("${files[0]}")
for file in "${files[@]:1}"; do
  case $file in */kalinka.mid | */test1.mid | */test_score1.mid | */spiderman.mid) small+=("$file") ;; esac
done
before=$(expired)
early_before=$(early)
play_and_compare strands bad-network-in-time 1 "${files[0]}" "${files[0]}" "${files[0]}"
early_before=$(early)
play_and_compare strands bad-network max "${small[@]}"
moved=$(($(moved bad-network sysex) + $(moved bad-network-in-time sysex)))
# A note waits 20 ms for the SysEx before it, and then no more, which is counted.
say "bad network: SysEx not at their place $moved; events that waited in vain for one: $(($(expired) - before))"
[ "$moved" = 0 ] || check "and each was counted" test "$(expired)" -gt "$before"
say "repaired at b: $(metric b realtime_recovered), sent again by a: $(metric a realtime_repeated)"
equal "dropped at b" 0 "$(metric b realtime_dropped)"
