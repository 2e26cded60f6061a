#!/usr/bin/env bash
# Two machines with an ALSA sequencer: aplaymidi on one is heard by aseqdump on the other, by mDNS alone;
# a device that goes takes its port along, and comes back as the same one.
# limit: 150
. "$LAB/lib.sh"

# Programs of both machines: wait for a port of the sequencer, by its name, to be there or to be gone.
cat >"$OUT/common.sh" <<'S'
export HOME=/tmp XDG_STATE_HOME=/tmp XDG_RUNTIME_DIR=/tmp
say() { echo "$(cut -d' ' -f1 /proc/uptime) $*"; }
port() { aconnect -l | awk -v name="$1" -v client="$2" '
  /^client/ { c = $2; sub(":", "", c); owner = $0 }
  $2 ~ /^\x27/ { n = $0; sub(/^ *[0-9]+ \x27/, "", n); sub(/ *\x27.*/, "", n)
    if (n == name && index(owner, client)) { print c ":" $1; exit } }'; }
# until_port NAME CLIENT SECONDS: prints its address.
until_port() {
  i=0
  while [ -z "$(port "$1" "$2")" ]; do
    i=$((i + 1)); [ $i -gt $(($3 * 5)) ] && { say "no port $1"; aconnect -l; return 1; }
    sleep 0.2
  done
  port "$1" "$2"
}
until_gone() {
  i=0
  while [ -n "$(port "$1" "$2")" ]; do
    i=$((i + 1)); [ $i -gt $(($3 * 5)) ] && { say "$1 is still there"; return 1; }
    sleep 0.2
  done
}
# until_notes FILE NUMBER: the file may not be there yet.
until_notes() {
  i=0
  until [ -f "$1" ] && [ "$(grep -c Note "$1")" -ge "$2" ]; do
    i=$((i + 1)); [ $i -gt 150 ] && { say "too few notes in $1"; cat "$1"; return 1; }
    sleep 0.2
  done
}
up() {
  ./midip2p up --json --name "$1" --trust lan >/out/up.json 2>/out/up.err &
  i=0
  while ! [ -s /out/up.json ]; do i=$((i + 1)); [ $i -gt 100 ] && return 1; sleep 0.2; done
  say "$1 is up"
}
S
cat >"$OUT/one.sh" <<'S'
. ./common.sh
up one || exit 10
to=$(until_port "aseqdump @ two" midip2p 40) || exit 11
say "the port of two is here: $to"
aplaymidi -p "$to" music.mid && say "played once"
until_gone "aseqdump @ two" midip2p 30 || exit 12
say "the port of two is gone"
aseqdump >/dev/null & mark=$!
to=$(until_port "aseqdump @ two" midip2p 40) || exit 13
say "and back: $to"
aplaymidi -p "$to" music.mid && say "played again"
aconnect -l >/out/ports
# The other machine ends first.
until_gone "aseqdump @ two" midip2p 40 || exit 14
kill $mark
say "done"
S
cat >"$OUT/two.sh" <<'S'
. ./common.sh
aseqdump >/out/first & dump=$!
up two || exit 10
until_notes /out/first 16 || exit 11
say "heard once"
kill $dump
until_port "aseqdump @ one" midip2p 30 >/dev/null || exit 12
say "one has seen it go, and has a port of its own here"
aseqdump >/out/second & dump=$!
until_notes /out/second 16 || exit 13
say "heard again"
aconnect -l >/out/ports
./midip2p ports >/out/ports.txt 2>&1
./midip2p peers >/out/peers.txt 2>&1
kill $dump
sleep 0.5
S
python3 - "$OUT/music.mid" <<'P'
import sys
track = b"".join(bytes([30 if i else 0, 0x90, 60 + i, 100, 30, 0x80, 60 + i, 64]) for i in range(8)) + b"\0\xff\x2f\0"
with open(sys.argv[1], "wb") as file:
    file.write(b"MThd\0\0\0\6\0\0\0\1\0\x60" + b"MTrk" + len(track).to_bytes(4, "big") + track)
P
# Without debug information the program is loaded much faster.
strip -o "$OUT/midip2p" "$MIDIP2P" 2>/dev/null || cp "$MIDIP2P" "$OUT/midip2p"
at_end "rm -f '$OUT/midip2p'"

# vm NAME N NETDEV: starts the machine; its files come back to $OUT/NAME.
vm() {
  start "$1" "$LAB/alsavm/run.sh" -t 130 -n "$3" -a "10.78.0.$2/24" -m "02:78:00:00:00:0$2" -o "$OUT/from-$1" \
    -f "$OUT/midip2p" -f "$OUT/common.sh" -f "$OUT/$1.sh" -f "$OUT/music.mid" -- "sh ./$1.sh"
}
wire=$((20000 + $$ % 20000))
vm two 2 "socket,listen=127.0.0.1:$wire"
eventually 20 "the wire is there" sh -c "ss -ltn | grep -q ':$wire '"
vm one 1 "socket,connect=127.0.0.1:$wire"
finish two 130
two=$?
finish one 20
one=$?
sed 's/^/one: /' "$OUT/one.out"
sed 's/^/two: /' "$OUT/two.out"
equal "exit status of the listening machine" 0 "$two"
equal "exit status of the playing machine" 0 "$one"
# aseqdump's notes: "128:1   Note on    0, note 60, velocity 100"
notes() { grep -o 'Note o[nf].*' "$1" | sed 's/  */ /g'; }
for i in 0 1 2 3 4 5 6 7; do
  printf 'Note on 0, note %d, velocity 100\nNote off 0, note %d, velocity 64\n' $((60 + i)) $((60 + i))
done >"$OUT/wanted"
for dump in first second; do
  notes "$OUT/from-two/$dump" >"$OUT/$dump.notes"
  check "$dump: all notes in order" cmp "$OUT/wanted" "$OUT/$dump.notes"
done
