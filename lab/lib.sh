# Helpers for the tests of lab/tests, which begin with: . "$LAB/lib.sh"
#
# The environment, set by `cargo xtask lab` (lab/README.md shows how to run one by hand):
#   MIDIP2P  the release binary        NETLAB       the built netlab program
#   LAB      this folder               NETLAB_NAME  the name of this test's own network
#   OUT      an empty folder of this test's own, kept afterwards
#
# A test passes when it exits with 0. What it started is stopped when it ends, however it ends.

set -u
: "${LAB:?run this by cargo xtask lab, or see lab/README.md}" "${OUT:?}"

declare -A lab_pid=()
lab_cleanups=()

lab_end() {
  local code=$? i name
  for name in "${!lab_pid[@]}"; do stop "$name" 5 >/dev/null 2>&1; done
  for ((i = ${#lab_cleanups[@]} - 1; i >= 0; i--)); do eval "${lab_cleanups[i]}" >/dev/null 2>&1; done
  exit "$code"
}
trap lab_end EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# at_end COMMAND: runs it when the test ends, the last one given first.
at_end() { lab_cleanups+=("$1"); }

# say TEXT: one line of what the test is about to show.
say() { printf '%s\n' "$*"; }

# fail TEXT: ends the test as failed, with the last words of everything it started.
fail() {
  local log
  say "FAILED: $*"
  for log in "$OUT"/*.err; do
    [ -s "$log" ] && { say "--- the end of $(basename "$log")"; tail -n 12 "$log"; }
  done
  exit 1
}

# skip TEXT: ends the test as skipped. In CI that is a failure, except for skip_device.
skip() { say "skip: $*"; exit 77; }
# skip_device TEXT: the machine lacks a device that nobody can install.
skip_device() { say "skip-device: $*"; exit 77; }

# ---- asserting -------------------------------------------------------------------------------

# check WHAT COMMAND...: the command must succeed.
check() {
  local what=$1
  shift
  "$@" || fail "$what: \`$*\` gave $?"
  say "ok: $what"
}

# equal WHAT WANTED GOT
equal() {
  [ "$2" = "$3" ] || fail "$1: wanted «$2», got «$3»"
  say "ok: $1: $3"
}

# within WHAT LOW NUMBER HIGH: LOW <= NUMBER <= HIGH, fractions allowed.
within() {
  python3 -c 'import sys; l, n, h = map(float, sys.argv[1:]); sys.exit(not l <= n <= h)' "$2" "$3" "$4" ||
    fail "$1: $3 is not within $2 .. $4"
  say "ok: $1: $3 (within $2 .. $4)"
}

# eventually SECONDS WHAT COMMAND...: the command must succeed once before the time is over.
eventually() {
  local limit=$1 what=$2
  shift 2
  within_time "$limit" "$@" || fail "$what: not within $limit s: \`$*\`"
  say "ok: $what"
}

# within_time SECONDS COMMAND...: whether the command succeeds once before the time is over; silent.
within_time() {
  local end
  end=$(($(date +%s%N) + $1 * 1000000000))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$(date +%s%N)" -lt "$end" ] || return 1
    sleep 0.05
  done
}

# now: seconds with fractions, for what takes how long: began=$(now) … $(since "$began")
now() { date +%s.%N; }
since() { python3 -c 'import sys, time; print(round(time.time() - float(sys.argv[1]), 2))' "$1"; }

# ---- programs in the background --------------------------------------------------------------

# start NAME COMMAND...: its output goes to $OUT/NAME.out and $OUT/NAME.err; `stop NAME` ends it.
# COMMAND is a program, not a shell function: its pid is what is signalled.
start() {
  local name=$1
  shift
  # The file says what was started, for whoever reads the folder afterwards.
  printf '%q ' "$@" >"$OUT/$name.cmd"
  : >"$OUT/$name.out" # whoever waits for a line finds a file at once
  "$@" >"$OUT/$name.out" 2>"$OUT/$name.err" </dev/null &
  lab_pid[$name]=$!
}

alive() { kill -0 "${lab_pid[$1]:-0}" 2>/dev/null; }

# stop NAME [SECONDS]: SIGTERM, and SIGKILL after SECONDS (default 5); gives the exit status.
stop() {
  local pid=${lab_pid[$1]:?no program $1 was started} i
  unset "lab_pid[$1]"
  kill -TERM "$pid" 2>/dev/null
  for ((i = 0; i < ${2:-5} * 20; i++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  kill -KILL "$pid" 2>/dev/null && say "$1 did not stop by itself and was killed"
  wait "$pid" 2>/dev/null
}

# finish NAME SECONDS: waits for a program that ends by itself; gives its exit status, 124 if it did not.
finish() {
  local pid=${lab_pid[$1]:?no program $1 was started} i
  for ((i = 0; i < $2 * 20; i++)); do
    kill -0 "$pid" 2>/dev/null || { unset "lab_pid[$1]"; wait "$pid"; return; }
    sleep 0.05
  done
  return 124
}

# refused CODE PATTERN COMMAND...: it must end with this code, and say something like the pattern on standard error.
refused() {
  local code=$1 pattern=$2 got
  shift 2
  # Functions cannot be run by timeout.
  local limit=(timeout 20)
  [ "$(type -t "$1")" = function ] && limit=()
  ${limit[@]+"${limit[@]}"} "$@" >"$OUT/refused.out" 2>"$OUT/refused.err" </dev/null
  got=$?
  [ "$got" = "$code" ] || fail "\`${*##*/}\` gave $got, not $code: $(cat "$OUT/refused.out" "$OUT/refused.err")"
  grep -qiE -- "$pattern" "$OUT/refused.err" || fail "\`${*##*/}\` said «$(cat "$OUT/refused.err")», not «$pattern»"
  grep -qiE 'panicked|backtrace' "$OUT/refused.err" && fail "\`${*##*/}\` panicked: $(cat "$OUT/refused.err")"
  say "ok: $code: $(head -n 1 "$OUT/refused.err" | cut -c1-150)"
}

# ---- nodes of midip2p ------------------------------------------------------------------------

# Where each node runs: the words before its program, quoted for `eval`.
declare -A lab_at=()

# node NAME [PREFIX... --] [OPTIONS...]: starts `midip2p up --json` with directories and ports of its
# own and waits until it says that it is ready. PREFIX puts it elsewhere:
#   node b "$NETLAB" exec b -- -- --peer 10.77.0.1
# (the first `--` belongs to netlab, the second ends the prefix).
node() {
  local name=$1 prefix=() i
  shift
  for ((i = $#; i > 0; i--)); do
    # The last `--` divides prefix and options.
    [ "${!i}" = -- ] && { prefix=("${@:1:i-1}"); shift "$i"; break; }
  done
  place "$name" ${prefix[@]+"${prefix[@]}"}
  start_at "$name" "$name" up --json --name "$name" --port-udp 0 --port-tcp 0 --port-http 0 "$@"
  ready "$name" 10
}

# The key of the user whose nodes these are; they need not be confirmed.
LAB_USER=$(printf '%064d' 1)

# user_key DIR KEY: what nodes with DIR as XDG_STATE_HOME know each other by.
user_key() {
  mkdir -p "$1"
  (umask 077 && mkdir -p "$1/midip2p" && echo "$2" >"$1/midip2p/user-key")
}

# another_user: nodes from now on are those of somebody else.
another_user() { LAB_USER=$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'); }

# place NAME [PREFIX...]: says where node NAME runs, without starting it.
place() {
  local name=$1 dir=$OUT/state-$1
  shift
  user_key "$dir" "$LAB_USER"
  printf -v "lab_at[$name]" '%q ' env XDG_STATE_HOME="$dir" XDG_CONFIG_HOME="$dir" \
    XDG_RUNTIME_DIR="$dir" "$@"
}

# at NAME VERB...: midip2p with the directories and in the namespace of node NAME.
at() {
  local name=$1
  shift
  eval "${lab_at[$name]}"'"${MIDIP2P:?}" "$@"'
}

# start_at LABEL NAME VERB...: the same in the background, as LABEL.
start_at() {
  local label=$1 name=$2
  shift 2
  eval "start \"\$label\" ${lab_at[$name]}"'"${MIDIP2P:?}" "$@"'
}

# listen LABEL NAME [OPTIONS...]: `monitor --json` of node NAME, waited for; its lines: $OUT/LABEL.out
listen() {
  local label=$1 name=$2
  shift 2
  start_at "$label" "$name" monitor --json "$@"
  within_time 10 grep -qs '"ready"' "$OUT/$label.err" || fail "$label does not listen"
}

# traffic LABEL NAME PORT KIND...: tools/traffic.py plays on port PORT of node NAME, in the background.
traffic() {
  local label=$1 name=$2 port=$3
  shift 3
  eval 'start "$label" python3 "$LAB/tools/traffic.py" "$@" -- '"${lab_at[$name]}"'"$MIDIP2P" send --port "$port"'
}

# keyboard NAME PORT [OPTIONS...]: opens port PORT of node NAME for `key RECORD...` until `keyboard_ends`.
keyboard() {
  local name=$1 port=$2
  shift 2
  mkfifo "$OUT/keys-$name"
  # The program holds its own end open only for reading: it ends when ours is closed.
  eval "${lab_at[$name]}"'"$MIDIP2P" send --port "$port" "$@" <"$OUT/keys-$name" >"$OUT/keyboard-$name.out" 2>"$OUT/keyboard-$name.err" &'
  lab_pid[keyboard-$name]=$!
  exec {keys}>"$OUT/keys-$name"
  lab_keys[$name]=$keys
}
declare -A lab_keys=()
# key NAME RECORD...: plays records on the keyboard of node NAME.
key() { printf '%s\n' "${@:2}" >&"${lab_keys[$1]}"; }
keyboard_ends() { exec {lab_keys[$1]}>&-; finish "keyboard-$1" "${2:-15}"; }
# Records for `key`: channel, number, value.
note_on() { printf '{"type":"noteOn","channel":%d,"note":%d,"velocity":%d}' "$1" "$2" "${3:-100}"; }
note_off() { printf '{"type":"noteOff","channel":%d,"note":%d,"velocity":64}' "$1" "$2"; }
control() { printf '{"type":"controlChange","channel":%d,"controller":%d,"value":%d}' "$1" "$2" "$3"; }
bend() { printf '{"type":"pitchBend","channel":%d,"value":%d}' "$1" "$2"; }

# linked A B: waits until A has a link to the node named B.
linked() { eventually 10 "$1 is linked with $2" is_linked "$1" "$2"; }
is_linked() { at "$1" peers --json | grep "\"name\":\"$2\"" | grep -q '"state":"connected"'; }

# has_port NAME PORT DIRECTION: whether node NAME shows this port now.
has_port() { at "$1" ports --json | grep "\"name\":\"$2\"" | grep -q "\"direction\":\"$3\""; }

# heard LABEL COUNT: whether so many messages were heard.
heard() { [ "$(grep -c '"type"' "$OUT/$1.out")" -ge "$2" ]; }

# link_of NAME PEER KEY: what node NAME says of its link with the node named PEER.
link_of() { at "$1" peers --json | grep "\"name\":\"$2\"" | head -n 1 | json "$3" 2>/dev/null; }

# clock_us: CLOCK_MONOTONIC in µs, as in the times of `monitor`. In every namespace it is the same.
clock_us() { "$NETLAB" clock; }

# keys_heard [--here]: nodes a and b, linked over `network 2`, or on this machine; a has a port Keys, which `near` (at
# a) and `far` (at b) hear.
keys_heard() {
  local options=(--no-discovery --no-alsa --no-jack)
  if [ "${1:-}" = --here ]; then
    node b "${options[@]}"
    node a "${options[@]}" --app-port Keys --peer "127.0.0.1:$(field b tcp)"
  else
    network 2
    node b "$NETLAB" exec b -- -- "${options[@]}"
    node a "$NETLAB" exec a -- -- "${options[@]}" --app-port Keys --peer "10.77.0.2:$(field b tcp)"
  fi
  linked a b
  listen near a Keys
  eventually 5 "b sees a's port" has_port b "Keys @ a" source
  listen far b "Keys @ a"
}

# agree: whether `near` and `far` heard the same.
agree() { python3 "$LAB/tools/device.py" same "$OUT/near.out" "$OUT/far.out"; }

# What the program of node NAME has: memory in kB, threads, descriptors, ms of CPU so far.
memory() { awk '/^VmRSS/ {print $2}' "/proc/$(field "$1" pid)/status"; }
threads() { awk '/^Threads/ {print $2}' "/proc/$(field "$1" pid)/status"; }
descriptors() { find "/proc/$(field "$1" pid)/fd" -mindepth 1 2>/dev/null | wc -l; }
cpu() { awk -v tick="$(getconf CLK_TCK)" '{print int(($14 + $15) * 1000 / tick)}' "/proc/$(field "$1" pid)/stat"; }

# metric NAME KEY: a counter of /metrics/midi.
# get NAME PATH [OPTIONS...]: an answer of its HTTP interface; the options are curl's.
metric() { get "$1" /metrics/midi | json "$2"; }
get() {
  local name=$1 path=$2
  shift 2
  eval "${lab_at[$name]}"'curl -sS --max-time 5 -H "Authorization: Bearer $(cat "$(field "$name" state)/token")" \
    "$@" "http://$(field "$name" http)$path"'
}

# ready NAME SECONDS: waits for the first line of a program's output, which must be JSON.
ready() {
  local i
  for ((i = 0; i < $2 * 20; i++)); do
    [ "$(wc -l <"$OUT/$1.out")" -gt 0 ] && break
    alive "$1" || fail "$1 ended before it was ready"
    sleep 0.05
  done
  head -n 1 "$OUT/$1.out" | json . >/dev/null || fail "$1 was not ready within $2 s"
}

# field NAME PATH: a value of the line a node printed when it was ready: field a id, field a ports.0.name
field() { head -n 1 "$OUT/$1.out" | json "$2"; }

# json PATH: prints the value at PATH (names and indices joined by dots; `.` is all) of the JSON on stdin.
json() {
  python3 -c '
import json, sys
value = json.load(sys.stdin)
for part in filter(None, sys.argv[1].split(".")):
    value = value[int(part)] if isinstance(value, list) else value[part]
print(value if isinstance(value, str) else json.dumps(value))
' "$1"
}

# json_names: the names in lines of JSON on stdin, with what else tells ports apart, sorted.
json_names() {
  python3 -c '
import json, sys
ports = [json.loads(line) for line in sys.stdin]
print("; ".join(sorted("{} ({})".format(p["name"], p["direction"]) for p in ports)))
'
}

# ---- the network ------------------------------------------------------------------------------

# network N [--rt]: N nodes a, b, c, …, 10.77.0.1 and so on, taken down when the test ends.
network() {
  at_end '"$NETLAB" down'
  "$NETLAB" down
  "$NETLAB" up "$@" >"$OUT/netlab.log" || fail "netlab up $*: see $OUT/netlab.log"
}

# usual_tcp NAME...: TCP of these namespaces fills queues as that of nearly every Linux does, whatever this
# machine was given (BBR, say); Reno where only the root namespace may choose Cubic. Sets usual_tcp.
usual_tcp() {
  local name
  for name in "$@"; do
    for usual_tcp in cubic reno; do
      "$NETLAB" exec "$name" -- sysctl -qw "net.ipv4.tcp_congestion_control=$usual_tcp" 2>/dev/null && continue 2
    done
    fail "neither Cubic nor Reno in $name"
  done
}

# ---- music that is not ours -------------------------------------------------------------------

# openmsx: the 31 files of Debian's openttd-openmsx in the array `openmsx`, fetched once.
openmsx() {
  local kept=$(lab_kept)/openmsx
  if ! compgen -G "$kept/*.deb" >/dev/null; then
    mkdir -p "$kept"
    # Not as its own user: that one may not write here.
    (cd "$kept" && apt-get -qq -o APT::Sandbox::User=root download openttd-openmsx) >"$OUT/apt.err" 2>&1 ||
      skip "apt-get cannot download openttd-openmsx: $(tail -n 1 "$OUT/apt.err")"
  fi
  [ -d "$kept/usr" ] || dpkg -x "$kept"/*.deb "$kept" || fail "unpacking openttd-openmsx"
  mapfile -t openmsx < <(find "$kept/usr" -name '*.mid' | sort)
  [ "${#openmsx[@]}" = 31 ] || fail "openttd-openmsx has ${#openmsx[@]} files, not 31"
}

# hexter: the file with the DX7 banks of Debian's hexter in $hexter, fetched once; fails where it cannot be.
hexter() {
  local kept=$(lab_kept)/hexter
  if ! compgen -G "$kept/*.deb" >/dev/null; then
    mkdir -p "$kept"
    (cd "$kept" && apt-get -qq -o APT::Sandbox::User=root download hexter) >"$OUT/apt.err" 2>&1 || return 1
  fi
  [ -d "$kept/usr" ] || dpkg -x "$kept"/*.deb "$kept" || return 1
  hexter=$(find "$kept" -name 'dx7_roms.dx7' | head -n 1)
  [ -n "$hexter" ]
}

# midi_msg: the files of crate midi-msg's tests in the array `midi_msg`; fails where cargo cannot fetch it.
midi_msg() {
  local kept=$(lab_kept)/midi-msg
  mkdir -p "$kept/src" && : >"$kept/src/lib.rs"
  printf '[package]\nname = "fetch"\nedition = "2021"\n[dependencies]\nmidi-msg = "=0.9.0"\n[workspace]\n' \
    >"$kept/Cargo.toml"
  (cd "$kept" && { cargo fetch --offline || cargo fetch; }) >"$OUT/cargo.err" 2>&1 || return 1
  mapfile -t midi_msg < <(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -path '*/midi-msg-0.9.0/tests/*.mid' | sort)
  [ "${#midi_msg[@]}" -gt 0 ]
}

# lab_kept: where what was fetched stays between runs.
lab_kept() { echo "${CARGO_TARGET_DIR:-$LAB/../target}/lab"; }
