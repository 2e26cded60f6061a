#!/usr/bin/env bash
# Avahi on two nodes of the network: what one publishes the other finds.
# limit: 60
. "$LAB/lib.sh"
network 2
a=nl-$NETLAB_NAME-a b=nl-$NETLAB_NAME-b
start publish "$LAB/mdns/mdns.sh" "$a" hosta -- avahi-publish -s "Lab Check" _midip2p._tcp 5005 proto=1
browse() { timeout 8 "$LAB/mdns/mdns.sh" "$b" hostb -- timeout 4 avahi-browse -rtp _midip2p._tcp; }
found() { browse >"$OUT/browse.txt"; grep -q '^=.*;Lab\\032Check;.*;10.77.0.1;5005;' "$OUT/browse.txt"; }
found || found || { cat "$OUT/browse.txt"; fail "Avahi at b does not see what Avahi at a publishes"; }
say "ok: a service published at a is resolved at b"
