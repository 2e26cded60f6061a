#!/bin/bash
# Builds the VM's kernel and base initramfs under $ALSAVM_CACHE (default target/lab/alsavm).
# Its Debian packages are installed by `scripts/setup lab`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${ALSAVM_CACHE:-${CARGO_TARGET_DIR:-$here/../../target}/lab/alsavm}
mkdir -p "$cache" && cd "$cache"

pkg=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-[0-9]/{print $2; exit}')
ls "$pkg"_*.deb >/dev/null 2>&1 || apt-get download "$pkg" 2>/dev/null
rm -rf kernel root && mkdir -p kernel root
dpkg -x "$pkg"_*.deb kernel
ver=$(ls kernel/lib/modules)
cp "kernel/boot/vmlinuz-$ver" vmlinuz

# Only the modules we load, with what they depend on.
mods="snd-seq snd-seq-dummy snd-seq-midi snd-virmidi snd-hrtimer snd-aloop virtio_pci virtio_blk virtio_net virtio_rng af_packet"
depmod -b kernel "$ver"
mkdir -p root/{bin,dev,proc,sys,tmp,run,etc,job,out,lib64,usr/bin}
modprobe -d "$PWD/kernel" -S "$ver" --show-depends -a $mods 2>/dev/null |
  awk '$1=="insmod"{print $2}' | awk '!seen[$0]++' > modlist
i=0
while read -r m; do
  i=$((i + 1))
  install -D "$m" "root/modules/$(printf %03d $i)-$(basename "$m")"
done < modlist

cp /bin/busybox root/bin/busybox
# Programs and every shared library they name, at the same paths as here.
add() {
  local f; f=$(command -v "$1") || return 0
  install -D "$f" "root/usr/bin/$(basename "$f")"
  ldd "$f" 2>/dev/null | grep -o '/[^ ]*' | while read -r l; do install -D "$l" "root$l"; done
}
for p in aconnect aseqdump aplaymidi arecordmidi amidi aseqnet ip ${ALSAVM_EXTRA:-}; do add "$p"; done
mkdir -p root/usr/share && cp -rL /usr/share/alsa root/usr/share/ 2>/dev/null || true
install -m755 "$here/init" root/init
(cd root && find . | cpio -o -H newc --quiet | zstd -q -3 > ../base.cpio.zst)
ls -la "$cache"/vmlinuz "$cache"/base.cpio.zst
