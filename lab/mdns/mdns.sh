#!/bin/bash
# avahi-daemon inside a network namespace, with its own D-Bus and run directory, as an
# independent judge of DNS-SD announcements.
#   mdns.sh NETNS HOSTNAME -- COMMAND...   e.g. mdns.sh nl-lab-b hostb -- avahi-browse -artp
set -eu
if [ "${1:-}" != --inner ]; then
  # A private mount namespace: /run/avahi-daemon and /run/dbus are this node's own.
  exec ip netns exec "$1" unshare --mount --propagation private "$0" --inner "$2" "${@:4}"
fi
shift; host=$1; shift
umask 022
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/avahi-daemon /run/dbus
chown avahi:avahi /run/avahi-daemon
cat > /run/avahi.conf <<C
[server]
host-name=$host
use-ipv4=yes
use-ipv6=yes
allow-interfaces=${MDNS_IF:-eth0}
[wide-area]
enable-wide-area=no
[publish]
publish-workstation=no
C
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket
dbus-daemon --system --nofork --nopidfile > /run/dbus.log 2>&1 & d=$!
trap 'kill $a $d 2>/dev/null' EXIT
for i in $(seq 50); do [ -S /run/dbus/system_bus_socket ] && break; sleep 0.05; done
avahi-daemon -f /run/avahi.conf --no-drop-root --no-chroot --no-rlimits > /run/avahi.log 2>&1 & a=$!
for i in $(seq 60); do avahi-browse -atp >/dev/null 2>&1 && break; sleep 0.1; done
[ -n "${MDNS_DEBUG:-}" ] && cat /run/dbus.log /run/avahi.log >&2
rc=0; "$@" || rc=$?
exit $rc
