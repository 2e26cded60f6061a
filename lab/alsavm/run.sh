#!/bin/bash
# Boots a VM that has the ALSA sequencer, runs one command in it and powers off.
#   run.sh [-f FILE]... [-o OUTDIR] [-n NETDEV -a IP/LEN [-m MAC]] [-c CPUS] [-t SECONDS] -- COMMAND...
#   -f FILE    put FILE in /job (the working directory); a dynamic ELF file brings its libraries
#   -o OUTDIR  what the command leaves in /out comes back here
#   -n NETDEV  a qemu -netdev without its id: user,hostfwd=udp::5004-:5004
#              socket,listen=:7001   socket,connect=127.0.0.1:7001   tap,ifname=tapx,script=no,downscript=no
# Prints what the command prints; exits with its status (124 if the VM ran past -t).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${ALSAVM_CACHE:-${CARGO_TARGET_DIR:-$here/../../target}/lab/alsavm}
files=() out= net= ip= mac=02:77:00:00:00:f1 cpus=1 limit=170
while getopts f:o:n:a:m:c:t: o; do
  case $o in f) files+=("$OPTARG");; o) out=$OPTARG;; n) net=$OPTARG;; a) ip=$OPTARG;;
             m) mac=$OPTARG;; c) cpus=$OPTARG;; t) limit=$OPTARG;; *) exit 2;; esac
done
shift $((OPTIND - 1)); [ "${1:-}" = "--" ] && shift
[ -f "$cache/base.cpio.zst" ] || "$here/build.sh" >&2

work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/job"
for f in ${files[@]+"${files[@]}"}; do
  cp -rL "$f" "$work/root/job/"
  { ldd "$f" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; } | while read -r l; do
    install -D "$l" "$work/root$l"
  done
done
printf '%s\n' "$*" > "$work/root/job/cmd"
printf 'VM_IP=%q\n' "$ip" > "$work/root/job/env"
(cd "$work/root" && find . | cpio -o -H newc --quiet | zstd -q -1) > "$work/job.cpio.zst"
cat "$cache/base.cpio.zst" "$work/job.cpio.zst" > "$work/initrd"
truncate -s 64M "$work/disk"

# ALSAVM_ACCEL=kvm where /dev/kvm really works; tcg runs everywhere.
accel=${ALSAVM_ACCEL:-tcg,thread=multi}
if [ -n "$net" ]; then nic=(-netdev "$net,id=n0" -device "virtio-net-pci,netdev=n0,mac=$mac,romfile=")
else nic=(-nic none); fi
rc=0
timeout "$limit" qemu-system-x86_64 -accel "$accel" -cpu max -smp "$cpus" -m 512 \
  -kernel "$cache/vmlinuz" -initrd "$work/initrd" \
  -append "console=ttyS0 quiet panic=-1 tsc=reliable mitigations=off random.trust_cpu=on" \
  -nodefaults -display none -no-reboot -serial "file:$work/console" -serial stdio \
  -drive "file=$work/disk,format=raw,if=virtio" -device virtio-rng-pci "${nic[@]}" \
  < /dev/null | tr -d '\r' | tee "$work/log" | grep --line-buffered -v '^ALSAVM-EXIT' || rc=${PIPESTATUS[0]}
[ "${PIPESTATUS[0]:-0}" = 124 ] && rc=124
if [ -n "$out" ] && grep -q ALSAVM-EXIT "$work/log"; then
  mkdir -p "$out"; tar -C "$out" -xf "$work/disk" 2>/dev/null || true
fi
code=$(sed -n 's/^ALSAVM-EXIT //p' "$work/log" | tail -1)
if [ -z "$code" ]; then
  echo "alsavm: no exit status; last of the VM's console:" >&2; tail -20 "$work/console" >&2
  exit "${rc:-1}"
fi
exit "$code"
