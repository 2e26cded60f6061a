#!/usr/bin/env bash
# Two JACK servers without hardware, side by side, each with its own clients.
# limit: 40
. "$LAB/lib.sh"
for server in lab-x lab-y; do
  at_end "'$LAB/jack/jack.sh' stop $server"
  check "the server $server starts" "$LAB/jack/jack.sh" start "$server" 128
done
start client "$LAB/jack/jack.sh" run lab-x -- jack_midiseq Lab 24000 0 60 8000
ports() { "$LAB/jack/jack.sh" run "$1" -- jack_lsp; }
eventually 5 "a client's port is on its server" sh -c "'$LAB/jack/jack.sh' run lab-x -- jack_lsp | grep -q '^Lab:'"
equal "and not on the other" "" "$(ports lab-y | grep '^Lab:' || true)"
