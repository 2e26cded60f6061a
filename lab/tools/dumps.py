#!/usr/bin/env python3
"""SysEx files: made, and compared with what a monitor heard.

dumps.py make FILE COUNT LENGTH [SEED]   COUNT messages of LENGTH bytes, F0 and F7 among them, each its own
dumps.py dx7 ROMS FILE                   the banks in hexter's dx7_roms.dx7 as DX7 bulk dumps
dumps.py same HEARD FILE...              what `monitor --json` heard is what the files hold, once, in order
dumps.py heard HEARD                     how many SysEx it heard
"""

import json
import random
import sys


def messages(path):
    data = open(path, "rb").read()
    return [b"\xf0" + part for part in data.split(b"\xf0")[1:]]


def heard(path):
    found = []
    with open(path) as lines:
        for line in lines:
            if '"type":"sysex"' in line[:40]:
                found.append(b"\xf0" + bytes.fromhex(json.loads(line)["data"]) + b"\xf7")
    return found


def make(path, count, length, seed=1):
    chance = random.Random(int(seed))
    with open(path, "wb") as out:
        for number in range(int(count)):
            body = bytes([0x7D, number >> 7 & 0x7F, number & 0x7F])
            body += bytes(b & 0x7F for b in chance.randbytes(int(length) - 2 - len(body)))
            out.write(b"\xf0" + body + b"\xf7")


def dx7(roms, path):
    """Of hexter's file: whole bulk dumps as they are, or bare banks of 4,096 bytes."""
    data = open(roms, "rb").read()
    head, size = bytes([0xF0, 0x43, 0x00, 0x09, 0x20, 0x00]), 4096
    if data.startswith(head):
        dump = len(head) + size + 2
        banks = [data[at + len(head) : at + len(head) + size] for at in range(0, len(data), dump)]
    else:
        banks = [data[at : at + size] for at in range(0, len(data) - size + 1, size)]
    with open(path, "wb") as out:
        for bank in banks:
            bank = bytes(b & 0x7F for b in bank)
            out.write(head + bank + bytes([-sum(bank) & 0x7F]) + b"\xf7")
    print(len(banks))


def same(path, *files):
    got = heard(path)
    sent = [message for file in files for message in messages(file)]
    if got == sent:
        print(f"{len(got)} messages, {sum(map(len, got))} bytes")
        return
    extra = len(got) - len(sent)
    at = next((n for n, (a, b) in enumerate(zip(got, sent)) if a != b), min(len(got), len(sent)))
    sys.exit(f"{len(got)} of {len(sent)} heard ({extra:+}); the first that differs is number {at}")


if __name__ == "__main__":
    verbs = {"make": make, "dx7": dx7, "same": same, "heard": lambda path: print(len(heard(path)))}
    if len(sys.argv) < 3 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])
