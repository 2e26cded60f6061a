#!/usr/bin/env python3
"""What passes an interface, at a millisecond's resolution, and a bare TCP copy to set beside it.

    wire.py watch [INTERFACE]        until it is ended: a line `time bytes` (µs of CLOCK_MONOTONIC, what the
                                     interface has received) for each millisecond in which something came
    wire.py took FILE FROM TO        of such lines, those of what came between two times; one JSON object:
                                     seconds and bytes between a hundredth of it and 99 of them, mbit a second
                                     meanwhile, all bytes, and the longest pause in ms
    wire.py sink PORT                takes connections one after the other, and reads them to their end; a line
                                     with the bytes of each
    wire.py copy HOST PORT BYTES     sends so many bytes, waits until the other end has closed, says the seconds

The time that a program needs before its first byte, to read a file or to parse, is not in what `took` says,
and neither is the time after the last. So a tunnel and a bare copy are measured alike: as what a link sees.
"""

import json
import os
import signal
import socket
import sys
import time

INTERVAL_S = 0.001
CHUNK = 1 << 18


def watch(interface="eth0"):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    last, when = -1, time.monotonic()
    with open(f"/sys/class/net/{interface}/statistics/rx_bytes", "rb", buffering=0) as counter:
        while True:
            now = int(os.pread(counter.fileno(), 32, 0))
            if now != last:
                print(time.monotonic_ns() // 1000, now, flush=False)
                last = now
            when = max(when + INTERVAL_S, time.monotonic())
            time.sleep(max(0, when - time.monotonic()))


def samples(path):
    """(time, bytes) of each line; one that is not whole, because the program was ended, is left out."""
    with open(path, encoding="ascii") as lines:
        for line in lines:
            if line.endswith("\n"):
                at, count = line.split()
                yield int(at), int(count)


def passage(path, start, end):
    """Of what came between two times: the samples between a hundredth of it and 99 of them, and all bytes."""
    inside, before = [], None
    for at, count in samples(path):
        if at < start:
            before = count
        elif at <= end:
            inside.append((at, count))
    if len(inside) < 2:
        sys.exit(f"{path}: nothing came between {start} and {end}")
    base = inside[0][1] if before is None else before
    whole = inside[-1][1] - base
    middle = [(at, count) for at, count in inside if whole * 0.01 <= count - base <= whole * 0.99]
    if len(middle) < 2:
        sys.exit(f"{path}: {whole} bytes came at once")
    return middle, whole


def took(path, start, end):
    middle, whole = passage(path, int(start), int(end))
    seconds = (middle[-1][0] - middle[0][0]) / 1e6
    count = middle[-1][1] - middle[0][1]
    pause = max(b[0] - a[0] for a, b in zip(middle, middle[1:]))
    print(json.dumps({"seconds": round(seconds, 4), "bytes": count, "mbit": round(count * 8e-6 / seconds, 1),
                      "all": whole, "pause": pause / 1000}))


def sink(port):
    with socket.create_server(("", int(port))) as server:
        print("ready", flush=True)
        buffer = bytearray(4 * CHUNK)
        while True:
            stream, _ = server.accept()
            total = 0
            with stream:
                while count := stream.recv_into(buffer):
                    total += count
            print(total, flush=True)


def copy(host, port, count):
    left, chunk = int(count), memoryview(bytes(CHUNK))
    began = time.monotonic()
    with socket.create_connection((host, int(port))) as stream:
        while left > 0:
            left -= stream.send(chunk[:left])
        stream.shutdown(socket.SHUT_WR)
        stream.recv(1)
    print(round(time.monotonic() - began, 4))


if __name__ == "__main__":
    verbs = {"watch": watch, "took": took, "sink": sink, "copy": copy}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])
