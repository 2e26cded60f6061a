#!/usr/bin/env bash
# Two nodes on one JACK server: nothing is mirrored onto it, and nothing goes round.
# limit: 40
. "$LAB/lib.sh"

jack=$LAB/jack/jack.sh
at_end "'$jack' stop lab-z$$"
check "the server starts" "$jack" start "lab-z$$" 1024 2>>"$OUT/jack.log"
is_own() { at "$1" ports --json | grep "\"name\":\"$2\"" | grep -q '"local":true'; }
start player "$jack" run "lab-z$$" -- jack_midiseq Keys 24000 0 60 4000 12000 64 4000
start dump "$jack" run "lab-z$$" -- jack_midi_dump Dump
node x env JACK_DEFAULT_SERVER="lab-z$$" JACK_NO_START_SERVER=1 -- --no-discovery --no-alsa
node y env JACK_DEFAULT_SERVER="lab-z$$" JACK_NO_START_SERVER=1 -- --no-discovery --no-alsa \
  --peer "127.0.0.1:$(field x tcp)"
linked y x
for node in x y; do
  eventually 5 "$node sees the player as its own" is_own $node "Keys: out"
  at $node ports >"$OUT/ports-of-$node"
done
lsp() { "$jack" run "lab-z$$" -- jack_lsp; }

# The player plays all the time: had anything been mirrored, it would be there by now, and go round.
connect() { "$jack" run "lab-z$$" -- jack_connect "$(lsp | grep '^Keys' | head -n 1)" "$(lsp | grep '^Dump' | head -n 1)"; }
check "the player is connected with the listener" connect
dumped() { [ "$(wc -l <"$OUT/dump.out")" -ge 16 ]; }
eventually 8 "the listener hears the player" dumped
equal "mirrors on the server" "" "$(lsp | grep ' @ ' || true)"
twice=$(sed 's/^ *[0-9]*: *//' "$OUT/dump.out" | uniq -d | head -n 1)
equal "messages heard twice in a row" "" "$twice"
for node in x y; do
  equal "events that $node sent to the other" 0 "$(metric $node realtime_sent)"
  equal "events that $node played" 0 "$(metric $node played)"
done
