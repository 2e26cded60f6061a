#!/usr/bin/env bash
# Who may drive a node: its user's programs by its socket; another user of the same machine neither by that nor by
# the loopback address; over HTTPS whoever has the token, from another machine too.
# limit: 60
. "$LAB/lib.sh"

network 2
node a "$NETLAB" exec a -- -- --no-discovery --no-alsa --no-jack --app-port Keys
socket=$(field a socket)
equal "modes of the socket and of its directory" "600 700" "$(stat -c %a "$socket" "$(dirname "$socket")" | paste -sd' ')"

say "--- its user"
asks() { "$NETLAB" exec a -- "$@" -sS --max-time 5 -o /dev/null -w '%{http_code}'; }
equal "curl by the socket" 200 "$(asks curl --unix-socket "$socket" http://localhost/trust)"
# One that every user may run.
python=$(command -v /usr/bin/python3 || command -v python3)
# toast USER... -- OPTIONS...: a program in Python, on a's machine, with a's directories.
toast() {
  local user=()
  while [ "$1" != -- ]; do user+=("$1") && shift; done
  shift
  eval "${lab_at[a]}"'${user[@]+"${user[@]}"} "$python" "$LAB/../examples/toast_client.py" "$@" "{\"type\":\"start\"}"'
}
check "a program by the socket, which it finds" toast --

say "--- another user of the machine"
another=(setpriv --reuid 65534 --regid 65534 --clear-groups)
"$NETLAB" exec a -- "${another[@]}" curl -sS --unix-socket "$socket" http://localhost/trust >"$OUT/other.out" 2>&1 &&
  fail "another user opened the socket: $(cat "$OUT/other.out")"
say "ok: another user does not open the socket: $(cat "$OUT/other.out")"
equal "by the loopback address" 401 "$(asks "${another[@]}" curl "http://$(field a http)/trust")"
refused 1 "the socket of the node's user" toast "${another[@]}" -- --node "127.0.0.1:$(field a tcp)"
equal "those that were refused" 1 "$(metric a http_tokens_refused)"

say "--- over HTTPS, from another machine"
node tls "$NETLAB" exec a -- -- --no-discovery --no-alsa --no-jack --app-port Pads --http-address 10.77.0.1 --http-tls
state=$(field tls state) http=$(field tls http)
over() { "$NETLAB" exec b -- curl -sS --max-time 5 -o /dev/null -w '%{http_code}' "$@"; }
bearer="Authorization: Bearer $(cat "$state/token")"
equal "with the token" 200 "$(over --cacert "$state/http-cert.pem" -H "$bearer" "https://$http/trust")"
equal "without" 401 "$(over --cacert "$state/http-cert.pem" "https://$http/trust")"
over -H "$bearer" "http://$http/trust" >/dev/null 2>&1 && fail "it answers in the clear"
place b "$NETLAB" exec b --
export MIDIP2P_TOKEN MIDIP2P_CERT=$state/http-cert.pem
MIDIP2P_TOKEN=$(cat "$state/token")
check "midip2p from there" sh -c 'grep -q Pads' <<<"$(at b ports --node "https://$http")"
listen pads b --node "https://$http" Pads
at tls send --port Pads "$(note_on 1 60)" || fail "send"
eventually 5 "a note is heard over HTTPS" heard pads 1
