#!/usr/bin/env bash
# The threads of stages, callbacks and snapshots under ThreadSanitizer, the standard library instrumented too: no two
# may touch the same memory unordered.
# Not among the tests of `make lab` yet: cp it to lab/tests to run it (its build takes some minutes).
# root: no
. "$LAB/lib.sh"

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$LAB/../target}/tsan
export TSAN_OPTIONS="halt_on_error=0:exitcode=66:log_path=$OUT/report"
tsan() { "$LAB/rust-extra.sh" tsan --manifest-path "$LAB/../Cargo.toml" -p midip2p --no-default-features "$@"; }

began=$(now)
tsan --lib --test events --test threads --no-run >"$OUT/build.out" 2>"$OUT/build.err" || fail "it does not build"
say "built in $(since "$began") s"

# What the inbox, its wake-ups and its end do, with ten threads; callbacks; panics; connections.
tsan --lib -- --test-threads 1 stages:: connection:: events:: >"$OUT/lib.out" 2>"$OUT/lib.err" ||
  fail "the stages: $(grep -hm1 SUMMARY "$OUT"/report.* 2>/dev/null || tail -n 3 "$OUT/lib.out")"
tsan --test events --test threads -- --test-threads 1 >"$OUT/nodes.out" 2>"$OUT/nodes.err" ||
  fail "the nodes: $(grep -hm1 SUMMARY "$OUT"/report.* 2>/dev/null || tail -n 3 "$OUT/nodes.out")"
equal "reports" 0 "$(cat "$OUT"/report.* 2>/dev/null | grep -c '^WARNING: ThreadSanitizer')"
say "$(grep -h '^test result' "$OUT/lib.out" "$OUT/nodes.out" | paste -sd' ')"
