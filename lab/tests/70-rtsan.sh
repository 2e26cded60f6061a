#!/usr/bin/env bash
# The lane's turns under the real-time sanitizer: no allocation, no lock, no call that may wait.
# limit: 900
# root: no
. "$LAB/lib.sh"

# The sanitizer is in rustc's own runtime; the attribute that marks a function is not stable yet.
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="--cfg midip2p_rtsan -Zsanitizer=realtime -Cunsafe-allow-abi-mismatch=sanitizer"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$LAB/../target}/rtsan
target=x86_64-unknown-linux-gnu

# What the lane calls on its own descriptors, which never wait: eventfd, timerfd, pipe. The
# sanitizer knows these functions only as some that may.
cat >"$OUT/suppressions" <<'END'
function-name-matches:^read$
function-name-matches:^write$
function-name-matches:^timerfd_settime$
END

build=(cargo test --manifest-path "$LAB/../Cargo.toml" -p midip2p --no-default-features --target "$target"
  --test sending --no-run --message-format json)
began=$(now)
"${build[@]}" >"$OUT/build.json" 2>"$OUT/build.err" || fail "it does not build"
say "built in $(since "$began") s"
program=$(python3 -c '
import json, sys
for line in open(sys.argv[1]):
    built = json.loads(line)
    if built.get("target", {}).get("name") == "sending" and built.get("executable"):
        print(built["executable"])
' "$OUT/build.json")

options="suppressions=$OUT/suppressions:halt_on_error=true"
RTSAN_OPTIONS=$options "$program" --test-threads 1 >"$OUT/clean.out" 2>"$OUT/clean.err" ||
  fail "the lane does something that may wait: $(grep -m1 ERROR "$OUT/clean.err")"
equal "tests that pass under the sanitizer" 6 "$(grep -c '^test .* ok$' "$OUT/clean.out")"

MIDIP2P_PLANT_ALLOCATION=1 RTSAN_OPTIONS=$options "$program" --test-threads 1 >"$OUT/planted.out" 2>"$OUT/planted.err" &&
  fail "a planted allocation was not found"
check "a planted allocation is found" grep -q "unsafe-library-call" "$OUT/planted.err"
check "and named" grep -q "malloc" "$OUT/planted.err"
