#!/usr/bin/env python3
"""Besieges a node with connections that are never finished.

    siege.py TCP HTTP SECONDS     the ports of a node on 127.0.0.1

Holds 1,000 connections half-open on each port, each made anew as soon as the node ends it: a third says nothing, a
third the beginning of a TLS handshake, byte by byte, a third random bytes behind it. On the HTTP port each sends the
head of a request, a byte at a time. Besides it shakes hands as often as it can with a key of its own, and says
nothing after it. Prints what it did.
"""

import random
import socket
import ssl
import sys
import threading
import time

HELD = 1_000
rng = random.Random(7)
# The beginning of a TLS record with a handshake in it, and of a request.
RECORD = bytes((22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3)) + rng.randbytes(32) + bytes(8)
REQUEST = b"GET /network/mesh HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " + b"a" * 4096
counts = {}


def count(what, n=1):
    counts[what] = counts.get(what, 0) + n


class Connection:
    def __init__(self, port, kind):
        self.port, self.kind = port, kind
        self.open()

    def open(self):
        self.at = 0
        self.stream = socket.socket()
        self.stream.setblocking(False)
        self.stream.connect_ex(("127.0.0.1", self.port))
        count(f"{self.kind}: connections")

    def step(self):
        """One byte more; anew when the node has ended it."""
        try:
            if self.stream.recv(4096) == b"":
                raise ConnectionResetError
        except BlockingIOError:
            pass
        except OSError:
            self.again()
            return
        text = {"silent": b"", "slow handshake": RECORD, "rubbish": RECORD[:5] + bytes(200), "slow HTTP": REQUEST}[self.kind]
        if self.at < len(text):
            try:
                self.at += self.stream.send(text[self.at : self.at + 1])
            except BlockingIOError:
                pass
            except OSError:
                self.again()

    def again(self):
        self.stream.close()
        count(f"{self.kind}: ended by the node")
        self.open()


def shake(port, until):
    """Handshakes, one after the other, each with silence after it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    held = []
    while time.monotonic() < until:
        try:
            raw = socket.create_connection(("127.0.0.1", port), timeout=1)
            held.append(context.wrap_socket(raw))
            count("handshakes")
        except OSError:
            count("handshakes refused")
        if len(held) > 200:
            held.pop(0).close()


def main():
    tcp, http, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    until = time.monotonic() + seconds
    shaking = threading.Thread(target=shake, args=(tcp, until))
    shaking.start()
    kinds = ("silent", "slow handshake", "rubbish")
    held = [Connection(tcp, kinds[n % 3]) for n in range(HELD)]
    held += [Connection(http, "slow HTTP") for _ in range(HELD)]
    while time.monotonic() < until:
        # Each gets its turn some ten times a second.
        for n, connection in enumerate(held):
            connection.step()
            if n % 100 == 0:
                time.sleep(0.002)
    shaking.join()
    for what in sorted(counts):
        print(f"{what}: {counts[what]}")


main()
