#!/usr/bin/env python3
"""Sends a node what no node would: bad datagrams, bad frames, connections that say nothing.

    hostile.py UDP TCP HTTP SECONDS     the ports of a node on 127.0.0.1

Prints what it sent, by kind. Every kind is sent at least once, however short the time.
"""

import random
import socket
import struct
import sys
import time
import zlib

HELLO, HEARTBEAT, BYE = 1, 2, 9
SILENT_CONNECTIONS = 200

rng = random.Random(7)


def crc_tag(head_and_body):
    return struct.pack(">I", zlib.crc32(head_and_body)) + bytes(12)


def datagrams():
    """Kinds of bad datagram: (name, a function that makes one)."""
    header = lambda kind=1, link=None, zero=0: struct.pack(
        ">BBHIQ", kind, 0, zero, rng.getrandbits(32) if link is None else link, rng.getrandbits(40))
    sealed = lambda data: data + crc_tag(data)
    return [
        ("random", lambda: rng.randbytes(rng.randrange(1, 1500))),
        ("empty", lambda: b""),
        ("truncated", lambda: sealed(header())[: rng.randrange(1, 31)]),
        ("oversized", lambda: sealed(header() + bytes(rng.randrange(1201, 9000)))),
        ("wrong version", lambda: sealed(header(kind=rng.choice((0, 2, 3, 0x7F, 0xFF, 0x80, 0x4D))))),
        ("unknown link", lambda: sealed(header() + rng.randbytes(rng.randrange(64)))),
        ("reserved bits", lambda: sealed(header(zero=1))),
        ("wrong tag", lambda: header() + rng.randbytes(16)),
        ("AppleMIDI", lambda: b"\xff\xffIN" + rng.randbytes(12) + b"name\0"),
    ]


def frame(kind, payload, length=None, crc=None, sequence=1):
    length = 20 + len(payload) if length is None else length
    data = struct.pack(">IIQI", length, kind, 0, sequence) + payload
    return data + struct.pack(">I", zlib.crc32(data) if crc is None else crc)


def hello(low=1, high=1, name=b"hostile", tail=b""):
    head = struct.pack(">HHQ", low, high, 0) + rng.randbytes(32) + struct.pack(
        ">QIHH", rng.getrandbits(64), rng.getrandbits(32), 9, 9)
    return head + struct.pack(">BH", 1, len(name)) + name + tail


def streams():
    """Kinds of bad connection: (name, the bytes that are sent)."""
    return [
        ("random bytes", lambda: rng.randbytes(4096)),
        ("length beyond the limit", lambda: frame(HELLO, b"", length=0xFFFFFFFF)),
        ("length below the least", lambda: frame(HELLO, b"", length=3)),
        ("long payload, cut off", lambda: frame(HELLO, bytes(60000))[:30000]),
        ("payload above the limit", lambda: frame(HELLO, bytes(70000)) + frame(HELLO, bytes(70000))),
        ("16 MiB announced", lambda: frame(HELLO, bytes(100), length=16 << 20)),
        ("wrong versions", lambda: frame(HELLO, hello(7, 9))),
        ("versions the wrong way round", lambda: frame(HELLO, hello(2, 1))),
        ("wrong CRC", lambda: frame(HELLO, hello(), crc=1)),
        ("hello cut off", lambda: frame(HELLO, hello()[:30])),
        ("hello and rubbish", lambda: frame(HELLO, hello(tail=rng.randbytes(200)))),
        ("heartbeat first", lambda: frame(HEARTBEAT, bytes(8)) * 50),
        ("unknown types", lambda: b"".join(frame(n, b"x" * 50, sequence=n) for n in range(20, 200))),
        ("bye first", lambda: frame(BYE, b"\xee" + b"x" * 300)),
        ("HTTP", lambda: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ]


def connect(port):
    stream = socket.socket()
    stream.setblocking(False)
    # A node that has enough of it takes no more: then this one waits in the kernel.
    stream.connect_ex(("127.0.0.1", port))
    return stream


def say(stream, data):
    try:
        stream.send(data)
    except OSError:
        # Not connected yet, or closed already: both are answers.
        return


def main(udp, tcp, http, seconds):
    end = time.monotonic() + seconds
    sent = {}
    count = lambda name: sent.__setitem__(name, sent.get(name, 0) + 1)
    silent = []
    for number in range(SILENT_CONNECTIONS):
        # Half say nothing, half begin a frame and never end it; some of each to the HTTP port.
        stream = connect(http if number % 8 == 0 else tcp)
        time.sleep(0.001)
        say(stream, b"" if number % 2 else frame(HELLO, hello())[:17])
        silent.append(stream)
        count("half-open connections")
    bad, open_streams = datagrams(), []
    flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    kinds = streams()
    first = True
    while first or time.monotonic() < end:
        first = False
        for name, make in kinds:
            stream = connect(tcp)
            open_streams.append((stream, make()))
            count(f"stream: {name}")
        time.sleep(0.002)
        for stream, data in open_streams[-len(kinds):]:
            say(stream, data)
        # They are left open for a while: the node closes them, or waits for more.
        while len(open_streams) > 60:
            open_streams.pop(0)[0].close()
        for _ in range(40):
            for name, make in bad:
                flood.sendto(make(), ("127.0.0.1", udp))
                count(f"datagram: {name}")
        time.sleep(0.005)
    for name, number in sent.items():
        print(f"{number:7} {name}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*(int(port) for port in sys.argv[1:4]), float(sys.argv[4]))
