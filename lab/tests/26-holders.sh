#!/usr/bin/env bash
# Two nodes hold the same note and the same pedal on one JACK output; one of them is killed: the other's
# note sounds on, and ends when that one lets go.
# limit: 60
. "$LAB/lib.sh"

jack=$LAB/jack/jack.sh
at_end "'$jack' stop lab-h$$"
check "the server starts" "$jack" start "lab-h$$" 1024 2>>"$OUT/jack.log"
start dump "$jack" run "lab-h$$" -- jack_midi_dump Synth
node y env JACK_DEFAULT_SERVER="lab-h$$" JACK_NO_START_SERVER=1 -- --no-discovery --no-alsa
for name in a c; do
  node $name --no-discovery --no-alsa --no-jack --peer "127.0.0.1:$(field y tcp)"
  linked $name y
done
synth() { at "$1" ports --json | grep '"direction":"destination"' | grep -m1 'Synth' | json name; }
for name in a c; do eventually 5 "$name sees the synthesizer" synth $name; done
say "it is called «$(synth a)»"
keyboard a Left --to "$(synth a)"
keyboard c Right --to "$(synth c)"
# dumped BYTES: how often the synthesizer got this message.
dumped() { grep -ciE ": *$1" "$OUT/dump.out"; }
got() { [ "$(dumped "$1")" -ge "${2:-1}" ]; }

say "--- a and c hold a note and the pedal on the same channel"
key a "$(note_on 1 60 90)" "$(control 1 64 127)"
eventually 5 "the synthesizer has a's note" got '90 3c 5a'
key c "$(note_on 1 60 91)" "$(control 1 64 127)"
eventually 5 "and c's" got '90 3c 5b'
key a "$(note_on 1 64 90)"
eventually 5 "and one that a alone holds" got '90 40 5a'
pedal_ups() { dumped 'b0 40 0\b|b0 40 00'; }
offs() { dumped '(80 3c|90 3c 00)'; }
equal "note-offs of the shared note" 0 "$(offs)"
began=$(now)
kill -KILL "${lab_pid[a]}"
gone() { got '(80 40|90 40 00)'; }
eventually 8 "what a alone held is released" gone
say "seconds until it was: $(since "$began")"
# What is released with a is released at once; a note-off of the shared note would be beside it.
key c "$(note_on 1 67 91)"
eventually 5 "c plays on" got '90 43 5b'
key c "$(note_off 1 67)"
eventually 5 "and on" got '80 43'
equal "note-offs of the note that c holds" 0 "$(offs)"
equal "ends of the pedal that c holds" 0 "$(pedal_ups)"
key c "$(note_off 1 60)" "$(control 1 64 0)"
eventually 5 "c lets go, and it ends" got '80 3c'
up() { [ "$(pedal_ups)" -ge 1 ]; }
eventually 5 "and the pedal" up
equal "note-offs of the note" 1 "$(offs)"
equal "ends of the pedal" 1 "$(pedal_ups)"
unset "lab_pid[a]"
finish keyboard-a 5 # its node is gone
keyboard_ends c || fail "the keyboard of c gave $?"
