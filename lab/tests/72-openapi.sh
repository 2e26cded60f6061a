#!/usr/bin/env bash
# What the HTTP interface says of itself is so: schemathesis reads a node's own /openapi.json and asks for what it
# describes, well and badly, for a minute; every answer has a status, a type, headers and content as described. Then the
# same with names that mean somebody.
# limit: 240
# root: no
. "$LAB/lib.sh"

version=4.32.5
kept=$(lab_kept)/schemathesis-$version
if [ ! -x "$kept/bin/schemathesis" ]; then
  rm -rf "$kept"
  { python3 -m venv "$kept" && "$kept/bin/pip" install -q "schemathesis==$version"; } >"$OUT/pip.err" 2>&1 ||
    { rm -rf "$kept"; skip "pip cannot install schemathesis $version: $(tail -n 1 "$OUT/pip.err")"; }
fi

node b --no-discovery --no-alsa --no-jack
node a --no-discovery --no-alsa --no-jack --app-port Keys --peer "127.0.0.1:$(field b tcp)"
linked a b
# One that waits to be trusted.
another_user
node c --no-discovery --no-alsa --no-jack --peer "127.0.0.1:$(field a tcp)"
waits() { get a /trust | grep -q '"trust":"waiting"'; }
eventually 10 "c waits to be trusted" waits

# examine LABEL SECONDS CONFIG [OPTIONS...]: all checks but one: whoever shows nothing ten times in a second gets 429, not
# 401, so `ignored_auth` cannot be asked as fast as it asks; crates/node/tests/interface.rs asks every path without.
# /events is left out since its answer does not end; that same file reads it.
examine() {
  local label=$1 seconds=$2 config=$3
  shift 3
  timeout $((seconds + 60)) env -C "$OUT" "$kept/bin/schemathesis" --config-file "$config" run "http://$(field a http)/openapi.json" \
    -H "Authorization: Bearer $(cat "$(field a state)/token")" --exclude-path /events \
    --exclude-checks ignored_auth --max-time "$seconds" --request-timeout 12 --seed 1 \
    --continue-on-failure --no-color "$@" >"$OUT/$label.out" 2>&1
  local code=$?
  sed -n '/API Operations:/,/Tested:/p; /Test cases:/,/generated/p; /Seed:/p' "$OUT/$label.out"
  [ $code = 0 ] || fail "schemathesis gave $code: $(sed -n '/FAILURES/,/WARNINGS/p' "$OUT/$label.out" | head -n 60)"
  say "ok: $label: no answer is otherwise than described"
}

# A WebSocket that is asked for without an upgrade is refused, however well it is asked.
cat >"$OUT/any.toml" <<'END'
[[operations]]
include-path = "/ws"
checks.positive_data_acceptance.enabled = false
# A filter has rules that a schema has no words for: the lower note first, channels 1 to 16 as keys.
[[operations]]
include-path-regex = "^/routing/routes"
checks.positive_data_acceptance.enabled = false
# A name has so many bytes, and no space at its ends.
[[operations]]
include-path-regex = "^/sessions"
checks.positive_data_acceptance.enabled = false
END
examine "anything" 60 "$OUT/any.toml"

cat "$OUT/any.toml" - >"$OUT/somebody.toml" <<END
[[operations]]
include-path = "/network/ping/{peer}"
parameters = { "path.peer" = "b" }
[[operations]]
include-path = "/debug/connection/{id}/metrics"
parameters = { "path.id" = "b" }
[[operations]]
include-path-regex = "^/trust/"
parameters = { "path.id" = "$(field c id)" }
END
examine "somebody" 15 "$OUT/somebody.toml"
equal "the node is still there" 200 "$(get a /node/info -o /dev/null -w '%{http_code}')"
is_linked a b || fail "the link with b was lost meanwhile"
say "ok: so is its link"
