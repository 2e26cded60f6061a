#!/usr/bin/env bash
# Two JACK servers, a node on each: what a JACK program plays on one, another one hears on the other.
# limit: 60
. "$LAB/lib.sh"

jack=$LAB/jack/jack.sh
for server in "lab-x$$" "lab-y$$"; do
  at_end "'$jack' stop $server"
  # Long periods: on a busy machine a dump that misses one has missed what was in it.
  check "the server $server starts" "$jack" start "$server" 1024 2>>"$OUT/jack.log"
done
on_x() { "$jack" run "lab-x$$" -- "$@"; }
on_y() { "$jack" run "lab-y$$" -- "$@"; }

# The programs first: a node finds what is there already, and what comes later.
start player "$jack" run "lab-x$$" -- jack_midiseq Keys 24000 0 60 4000 6000 64 4000 12000 67 4000
start early "$jack" run "lab-y$$" -- jack_midi_dump Early
node x env JACK_DEFAULT_SERVER="lab-x$$" JACK_NO_START_SERVER=1 -- --no-discovery --no-alsa
node y env JACK_DEFAULT_SERVER="lab-y$$" JACK_NO_START_SERVER=1 -- --no-discovery --no-alsa \
  --peer "127.0.0.1:$(field x tcp)"
linked y x
ports_of() { "$1" jack_lsp | sort; }
mirror_x() { on_x jack_lsp | grep -m1 "$1.* @ y"; }
mirror_y() { on_y jack_lsp | grep -m1 "$1.* @ x"; }
eventually 5 "the player of x appears on y's server" mirror_y Keys
eventually 5 "the listener of y appears on x's server" mirror_x Early
start late "$jack" run "lab-y$$" -- jack_midi_dump Late
eventually 5 "a listener that comes later, too" mirror_x Late
ports_of on_x >"$OUT/ports-x"
ports_of on_y >"$OUT/ports-y"
say "on y's server: $(mirror_y Keys); on x's: $(mirror_x Early)"

# One listener is connected on its own server to the player's mirror, one on the player's to its own mirror.
check "Early is connected to the player's mirror" on_y jack_connect "$(mirror_y Keys)" "$(on_y jack_lsp | grep '^Early' | head -n 1)"
check "Late's mirror is connected to the player" on_x jack_connect "$(on_x jack_lsp | grep '^Keys' | head -n 1)" "$(mirror_x Late)"
notes() { grep -oE '[89][0-9a-f] [34][0-9a-f] [0-9a-f]+' "$OUT/$1.out" | cut -d' ' -f1,2; }
several() { [ "$(notes "$1" | wc -l)" -ge 24 ]; }
for dump in early late; do
  eventually 8 "$dump hears notes" several $dump
  # jack_midiseq plays 60, 64 and 67 over and over, each on and off: some of them in a row, wherever it begins.
  check "$dump hears on and off of C, E and G in order" python3 - "$OUT/$dump.out" <<'P'
import re, sys
heard = [tuple(int(b, 16) for b in m.groups()) for m in
         re.finditer(r"([89][0-9a-f]) ([34][0-9a-f]) [0-9a-f]+", open(sys.argv[1]).read())]
cycle = [(s, n) for n in (60, 64, 67) for s in (0x90, 0x80)]
start = cycle.index(heard[0])
wanted = [cycle[(start + i) % 6] for i in range(len(heard))]
print(len(heard), "messages:", heard[:6])
sys.exit(heard != wanted)
P
done

say "the player ends, its mirror goes; it comes back and has the same name"
name=$(mirror_y Keys)
stop player
gone() { ! mirror_y Keys; }
eventually 5 "the mirror is gone" gone
start player "$jack" run "lab-x$$" -- jack_midiseq Keys 24000 0 60 4000
back() { [ "$(mirror_y Keys)" = "$name" ]; }
eventually 5 "the mirror is back as $name" back
stop x
none() { ! on_y jack_lsp | grep ' @ x'; }
eventually 5 "without its node no mirror is left" none
