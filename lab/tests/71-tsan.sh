#!/usr/bin/env bash
# The threads of stages, callbacks, snapshots and connections under ThreadSanitizer, the standard library instrumented
# too: no two may touch the same memory unordered. A race planted beside them is found.
# limit: 900
# root: no
. "$LAB/lib.sh"

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$LAB/../target}/tsan
# One setting for everything, so that std is built once for both.
settings=(--no-default-features --config profile.dev.incremental=false --config profile.dev.opt-level=1)
for profile in dev test; do settings+=(--config "profile.$profile.debug=\"line-tables-only\""); done

# build NAME ARGS...: builds tests; $OUT/NAME.programs gets a line «target program» for each.
build() {
  local name=$1 began
  shift
  began=$(now)
  "$LAB/rust-extra.sh" tsan "${settings[@]}" "$@" --no-run --message-format json \
    >"$OUT/$name.json" 2>"$OUT/$name.err" || fail "$name does not build"
  python3 -c '
import json, sys
for line in open(sys.argv[1]):
    built = json.loads(line)
    # The program that the tests of nodes may start has the name of the library.
    if built.get("executable") and (built["profile"]["test"] or built["target"]["name"] == "tsantest"):
        print(built["target"]["name"], built["executable"])
' "$OUT/$name.json" >"$OUT/$name.programs"
  say "$name: built in $(since "$began") s"
}
# program NAME TARGET
program() { sed -n "s/^$2 //p" "$OUT/$1.programs"; }
# under NAME COMMAND...: runs it, with its reports in $OUT/NAME.report.PID.
under() {
  local name=$1
  shift
  TSAN_OPTIONS="halt_on_error=0:exitcode=66:log_path=$OUT/$name.report" "$@" >"$OUT/$name.out" 2>"$OUT/$name.err"
}
reports() { cat "$OUT/$1".report.* 2>/dev/null | grep -c '^WARNING: ThreadSanitizer'; }

# An empty report says something only where a race would be reported, and where nothing else is.
build planted --manifest-path "$LAB/tsan/Cargo.toml" --bin tsantest
planted=$(program planted tsantest)
under relaxed "$planted" relaxed
equal "exit status with a planted race" 66 $?
check "it is reported" grep -q "data race" "$OUT"/relaxed.report.*
check "and where" grep -q "read_value" "$OUT"/relaxed.report.*
for order in release channel; do
  under "$order" "$planted" "$order" || fail "$order: it is ordered, and yet reported"
  equal "a value handed over by $order" 34 "$(cat "$OUT/$order.out")"
done

build node --manifest-path "$LAB/../Cargo.toml" -p midip2p --lib --test events --test threads
# What the inbox, its wake-ups and its end do, with ten threads; callbacks; panics; connections: then whole nodes, whose
# snapshots, rings and real-time threads run beside each other.
declare -A only=([midip2p]="stages:: connection:: events::" [events]="" [threads]="")
for tests in midip2p events threads; do
  began=$(now)
  # shellcheck disable=SC2086 # the parts of names are words
  under "$tests" "$(program node "$tests")" --test-threads 1 ${only[$tests]} ||
    fail "$tests: $(grep -hm1 SUMMARY "$OUT/$tests".report.* 2>/dev/null || tail -n 3 "$OUT/$tests.out")"
  equal "$tests: reports" 0 "$(reports "$tests")"
  say "$tests: $(grep '^test result' "$OUT/$tests.out") in $(since "$began") s"
done
for name in a_hundred_thousand_commands_of_ten_threads a_handle_outlives_its_peer whatever_callbacks_do \
  comes_back_as_the_same; do
  check "$name has run" grep -q "^test .*$name.* ok$" "$OUT"/{midip2p,events,threads}.out
done
