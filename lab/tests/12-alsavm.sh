#!/usr/bin/env bash
# A VM with an ALSA sequencer boots, runs a command, and gives back files and exit status.
# limit: 180
. "$LAB/lib.sh"
"$LAB/alsavm/run.sh" -o "$OUT/from-vm" -- 'aconnect -l >/out/ports; test -s /out/ports && exit 3' >"$OUT/vm.err" 2>&1
equal "exit status of the command in the VM" 3 $?
check "the VM's sequencer has clients" grep -q "client 14: 'Midi Through'" "$OUT/from-vm/ports"
check "and virtual devices" grep -q "Virtual Raw MIDI" "$OUT/from-vm/ports"
