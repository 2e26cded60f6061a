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
  local limit=$1 what=$2 end
  shift 2
  end=$(($(date +%s%N) + limit * 1000000000))
  until "$@" >/dev/null 2>&1; do
    [ "$(date +%s%N)" -lt "$end" ] || fail "$what: not within $limit s: \`$*\`"
    sleep 0.05
  done
  say "ok: $what"
}

# ---- programs in the background --------------------------------------------------------------

# start NAME COMMAND...: its output goes to $OUT/NAME.out and $OUT/NAME.err; `stop NAME` ends it.
# COMMAND is a program, not a shell function: its pid is what is signalled.
start() {
  local name=$1
  shift
  # The file says what was started, for whoever reads the folder afterwards.
  printf '%q ' "$@" >"$OUT/$name.cmd"
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

# ---- nodes of midip2p ------------------------------------------------------------------------

# node NAME [PREFIX... --] [OPTIONS...]: starts `midip2p up --json` with a state directory of its own
# and waits until it says that it is ready. PREFIX puts it elsewhere:
#   node b "$NETLAB" exec b -- -- --peer 10.77.0.1
# (the first `--` belongs to netlab, the second ends the prefix).
node() {
  local name=$1 prefix=() i
  shift
  for ((i = $#; i > 0; i--)); do
    # The last `--` divides prefix and options.
    [ "${!i}" = -- ] && { prefix=("${@:1:i-1}"); shift "$i"; break; }
  done
  mkdir -p "$OUT/state-$name"
  start "$name" env XDG_STATE_HOME="$OUT/state-$name" XDG_CONFIG_HOME="$OUT/state-$name" \
    XDG_RUNTIME_DIR="$OUT/state-$name" ${prefix[@]+"${prefix[@]}"} "${MIDIP2P:?}" up --json "$@"
  ready "$name" 10
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

# ---- the network ------------------------------------------------------------------------------

# network N [--rt]: N nodes a, b, c, …, 10.77.0.1 and so on, taken down when the test ends.
network() {
  at_end '"$NETLAB" down'
  "$NETLAB" down
  "$NETLAB" up "$@" >"$OUT/netlab.log" || fail "netlab up $*: see $OUT/netlab.log"
}
