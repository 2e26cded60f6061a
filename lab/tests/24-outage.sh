#!/usr/bin/env bash
# Two seconds without network in the middle of held chords, pedal, bend and an NRPN edit: 50 ms and a round
# trip after packets flow again, both sides agree.
# limit: 60
. "$LAB/lib.sh"

delay_ms=10
keys_heard
"$NETLAB" impair a b --delay ${delay_ms}ms
keyboard a Keys

# nrpn CHANNEL HIGH LOW VALUE: an edit as a programmer's panel sends it.
nrpn() { control "$1" 99 "$2"; echo; control "$1" 98 "$3"; echo; control "$1" 6 "$4"; echo; control "$1" 38 $((127 - $4)); }
# agree: whether both have heard the same; late notes are not there to be excused yet.

for round in 1 2 3; do
  say "--- outage $round"
  key a "$(control 1 0 1)" "$(control 1 32 $round)" '{"type":"programChange","channel":1,"program":'"$((round + 4))"'}'
  for note in 48 52 55 60; do key a "$(note_on 1 $note)"; done
  for note in 36 43; do key a "$(note_on 2 $note 80)"; done
  key a "$(control 1 64 127)" "$(control 1 1 20)" "$(bend 1 9000)" "$(nrpn 1 1 8 $((10 * round)))"
  # A shell's own pipe holds what was written; the near monitor says what was taken.
  eventually 5 "both ends have heard the beginning" agree
  down=$(clock_us)
  "$NETLAB" impair a b --delay ${delay_ms}ms --down
  # The first chord ends, another begins and is held; one begins and ends; all else moves.
  for step in 1 2 3 4 5 6 7 8; do
    key a "$(bend 1 $((9000 + 500 * step)))" "$(control 1 1 $((20 + 10 * step)))" "$(nrpn 1 1 8 $((10 * round + step)))"
    case $step in
      2) for note in 48 52 55 60; do key a "$(note_off 1 $note)"; done ;;
      3) key a "$(control 1 64 0)" "$(note_on 1 72)" '{"type":"programChange","channel":2,"program":40}' ;;
      5) key a "$(note_off 1 72)" "$(note_on 3 50)" "$(control 2 64 127)" ;;
      6) key a "$(control 1 7 $((90 + round)))" "$(nrpn 1 2 9 77)" "$(control 1 101 127)" "$(control 1 100 127)" ;;
    esac
    sleep 0.22
  done
  sleep 0.2
  up=$(clock_us)
  "$NETLAB" impair a b --delay ${delay_ms}ms
  sleep 1
  # Everything that was said before `up` must stand at b, apart from notes that began while nothing passed.
  took=$(python3 "$LAB/tools/device.py" settled "$OUT/near.out" "$OUT/far.out" "$up" "$down") ||
    fail "one second after the outage they differ: $took"
  within "ms after packets flowed until both sides agreed (50 + round trip $((2 * delay_ms)); 15 are the shell's and the machine's)" \
    0 "$took" $((50 + 2 * delay_ms + 15))
  # The chord of before sounds on; a note that began while nothing passed is too late to be played.
  equal "notes that b still plays" "2/36 2/43" "$(python3 "$LAB/tools/device.py" sounding "$OUT/far.out")"
  key a "$(note_off 2 36)" "$(note_off 2 43)" "$(note_off 3 50)" "$(control 2 64 0)" "$(bend 1 8192)"
  eventually 5 "all that is left is released" agree
done
keyboard_ends a || fail "the keyboard gave $?: $(cat "$OUT/keyboard-a.err")"
stop near
stop far
read -r late superseded given <<<"$(for key in late_dropped superseded given_up; do link_of b a $key; done | paste -sd' ')"
say "b counted: late-dropped $late, superseded $superseded, given up $given; snapshots $(link_of b a snapshots_taken)"
equal "what is left sounding or different" "the same" "$(agree)"
equal "notes that b still plays" "none" "$(python3 "$LAB/tools/device.py" sounding "$OUT/far.out")"
check "a and b were linked all the time" sh -c "! grep -q 'ended' '$OUT/a.err' '$OUT/b.err'"
