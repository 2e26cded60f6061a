#!/usr/bin/env bash
# Loops: through a cable in JACK, and across three nodes, each by a program that sends on what it hears. Cut in 100 ms,
# said, harmless to who plays, and mended when the cable is gone.
# limit: 150
. "$LAB/lib.sh"

thru() { # NAME: such a program at node NAME, port "Thru NAME"
  start "thru-$1" python3 "$LAB/tools/thru.py" "$(field "$1" socket)" "Thru $1"
  within_time 10 grep -qs ready "$OUT/thru-$1.out" || fail "the program at $1 does not start"
}
looped() { at "$1" ports --json | grep -c '"looped":true' | grep -qvx 0; }
one_looped() { local n; for n in "$@"; do looped "$n" && return; done; return 1; }
none_looped() { ! one_looped "$@"; }
# lasted NAME NOTE VELOCITY: how often the program heard that note-on, and for how many ms.
lasted() {
  python3 - "$OUT/thru-$1.out" "$2" "$3" <<'P'
import json, sys
heard = [line.split(" ", 1) for line in open(sys.argv[1]) if line[0].isdigit()]
times = [int(at) for at, line in heard
         if (r := json.loads(line))["type"] == "noteOn" and (r["note"], r["velocity"]) == tuple(map(int, sys.argv[2:4]))]
print(len(times), (times[-1] - times[0]) / 1000 if times else 0)
P
}
# dumped NAME DATA: how often the program heard that SysEx.
dumped() { grep -c "\"type\":\"sysex\".*\"data\":\"$2\"" "$OUT/thru-$1.out"; }
sysex() { printf '{"type":"sysex","data":"%s"}' "$1"; }
dump=41104212$(printf '%02x' {1..100})f7
dump=${dump%f7}
play() { # NAME TO RECORD...: plays at node NAME
  local name=$1 to=$2
  shift 2
  at "$name" send --to "$to" "$@" >>"$OUT/play.out" 2>&1 || fail "cannot play to $to: $(tail -n 1 "$OUT/play.out")"
}
# heard_once NAME PLAYER TO: each of ten notes that are played now comes once, and a second time at the most (it goes round once).
heard_once() {
  local n records=()
  for n in $(seq 40 49); do records+=("$(note_on 1 "$n" 77)" "$(note_off 1 "$n")"); done
  play "$2" "$3" "${records[@]}"
  for n in $(seq 40 49); do
    read -r times ms < <(lasted "$1" "$n" 77)
    within "note $n is heard" 1 "$times" 2
  done
}

say "--- a cable in JACK"
jack=$LAB/jack/jack.sh
at_end "'$jack' stop lab-l$$"
check "the server starts" "$jack" start "lab-l$$" 128 2>>"$OUT/jack.log"
node b env JACK_DEFAULT_SERVER="lab-l$$" JACK_NO_START_SERVER=1 -- --no-discovery --no-alsa
node a --no-discovery --no-alsa --no-jack --peer "127.0.0.1:$(field b tcp)"
linked a b
thru a
on_jack() { "$jack" run "lab-l$$" -- "$@"; }
port() { on_jack jack_lsp -p | awk -v want="$1" '/^[^ \t]/ {name = $0} /properties/ && name ~ /Thru a/ && index($0, want) {print name; exit}'; }
has_both() { [ -n "$(port output)" ] && [ -n "$(port input)" ]; }
eventually 10 "both mirrors of the program's port are in JACK" has_both
out=$(port output) in=$(port input)
check "the cable is put in" on_jack jack_connect "$out" "$in"
play b "Thru a @ a" "$(note_on 1 60 100)"
eventually 3 "the loop is found" one_looped a b
read -r times ms < <(lasted a 60 100)
within "times that the note went round" 2 "$times" 200
within "ms for which it did" 0 "$ms" 100
eventually 2 "and is said" grep -qs 'a loop:' "$OUT/a.err" "$OUT/b.err"
heard_once a b "Thru a @ a"
check "the cable is pulled" on_jack jack_disconnect "$out" "$in"
mended() { # playing all the while
  at b send --to "Thru a @ a" "$(note_on 1 50 1)" "$(note_off 1 50)" >/dev/null 2>&1
  none_looped a b
}
eventually 25 "without the cable there is no loop" mended
check "and that is said" grep -q 'no loop any more' "$OUT/a.err" "$OUT/b.err"
check "the cable is put in again" on_jack jack_connect "$out" "$in"
play b "Thru a @ a" "$(note_on 1 61 100)"
eventually 3 "the loop is found again" one_looped a b

say "--- the same cable, and SysEx alone"
check "the cable is pulled" on_jack jack_disconnect "$out" "$in"
eventually 25 "there is no loop" mended
check "the cable is put in" on_jack jack_connect "$out" "$in"
play b "Thru a @ a" "$(sysex "$dump")"
eventually 5 "the loop is found" one_looped a b
within "times that the dump went round" 3 "$(dumped a "$dump")" 8
sleep 1
before=$(dumped a "$dump")
sleep 1
equal "times that it has gone round since" 0 $(($(dumped a "$dump") - before))
play b "Thru a @ a" "$(sysex 411042127f)"
sleep 1
within "times that another is heard" 1 "$(dumped a 411042127f)" 2
check "the cable is pulled" on_jack jack_disconnect "$out" "$in"
dumps_mended() {
  at b send --to "Thru a @ a" "$(sysex 7e7f0601)" >/dev/null 2>&1
  none_looped a b
}
eventually 25 "without the cable there is no loop" dumps_mended
stop thru-a
stop a
stop b

say "--- across three nodes"
for name in a b c; do
  node "$name" --no-discovery --no-alsa --no-jack ${first:+--peer "127.0.0.1:$first"}
  first=${first:-$(field a tcp)}
done
linked a b
linked b c
linked a c
for name in a b c; do thru "$name"; done
next=([0]=b [1]=c [2]=a)
ring=(a b c)
for n in 0 1 2; do
  eventually 5 "${ring[n]} sees ${next[n]}'s port" has_port "${ring[n]}" "Thru ${next[n]} @ ${next[n]}" destination
  check "a route from ${ring[n]} to ${next[n]}" at "${ring[n]}" route add "Thru ${ring[n]}" "Thru ${next[n]} @ ${next[n]}"
done
play b "Thru a @ a" "$(note_on 1 60 100)"
eventually 3 "the loop is found" one_looped a b c
read -r times ms < <(lasted a 60 100)
within "times that the note went round" 2 "$times" 200
within "ms for which it did" 0 "$ms" 100
states() { for n in a b c; do at "$n" route --json | json state; done; }
eventually 3 "a route says so" eval 'states | grep -q "loop cut"'
heard_once a b "Thru a @ a"
check "one route is removed" at c route rm 1
open() {
  at b send --to "Thru a @ a" "$(note_on 1 50 1)" "$(note_off 1 50)" >/dev/null 2>&1
  none_looped a b c
}
eventually 25 "without it there is no loop" open
play b "Thru a @ a" "$(note_on 1 62 100)"
arrived() { [ "$(lasted c 62 100 | cut -d' ' -f1)" = 1 ]; }
eventually 3 "what is played to a goes to the end of the chain, once" arrived
