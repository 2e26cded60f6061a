#!/usr/bin/env bash
# elsewhere.sh ID COMMAND...: runs it as if on another machine: with ID (a UUID) for what its kernel calls itself since it
# started, and with the clock that the SKEW_ variables ask for.
set -eu
id=$1
shift
exec unshare --mount bash -c 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"' "$id" "$@"
