#!/usr/bin/env bash
# A hundred threads ask a node all the time while a peer of it comes and goes: more than a million answers a minute,
# the list of devices within a millisecond, no memory lost, and the node ends in time.
# limit: 600
# root: no
. "$LAB/lib.sh"

cargo build --release --manifest-path "$LAB/../Cargo.toml" -p midip2p --example storm \
  >"$OUT/build.out" 2>"$OUT/build.err" || fail "it does not build"
"${CARGO_TARGET_DIR:-$LAB/../target}/release/examples/storm" 15 100 >"$OUT/storm.out" 2>"$OUT/storm.err" ||
  fail "the storm: $(tail -n 1 "$OUT/storm.err")"
cat "$OUT/storm.out"
of() { python3 -c 'import json, sys; s = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$OUT/storm.out" "$1"; }
within "answers a minute" 1000000 "$(of 's["queries"] / s["seconds"] * 60')" 1e12
within "times that the peer came and went" 10 "$(of 's["storms"]')" 100000
equal "questions to the stage without an answer in two seconds" 0 "$(of 's["unanswered"]')"
within "p99 of the list of devices, in µs" 0 "$(of 's["devices_us"]["p99"]')" 1000
within "memory afterwards, as a share of that before" 0.5 "$(of 's["memory_kib"]["after"] / s["memory_kib"]["before"]')" 1.3
within "ms until the node had ended" 0 "$(of 's["stop_ms"]')" 2500
