#!/bin/bash
# Makes node NODE of a running lab a real VM (../alsavm): the VM takes the node's MAC and
# address, so every impairment of that node's links applies to it.
#   vm-node.sh d [-f FILE]... [-t SECONDS] -- COMMAND
set -eu
here=$(cd "$(dirname "$0")" && pwd); N=${NETLAB:?the built netlab program}
node=$1; shift; i=$(($(printf %d "'$node") - 96)); hex=$(printf %02x $i)
$N exec "$node" -- bash -c "
  ip link show br0 >/dev/null 2>&1 && exit 0
  ip addr flush dev eth0; ip link set eth0 down address 02:79:00:00:00:$hex; ip link set eth0 up
  ip link add br0 type bridge forward_delay 0 mcast_snooping 0; ip tuntap add tapvm mode tap
  ip link set eth0 master br0; ip link set tapvm master br0; ip link set tapvm up; ip link set br0 up"
exec $N exec "$node" -- "$here/../alsavm/run.sh" -n tap,ifname=tapvm,script=no,downscript=no \
  -a "10.77.0.$i/24" -m "02:77:00:00:00:$hex" "$@"
