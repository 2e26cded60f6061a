#!/usr/bin/env python3
"""Reads Standard MIDI Files by itself, so that tests do not judge midip2p by its own reader.

    smf.py count FILE...             events of each file, and seconds
    smf.py list FILE                 one line per message: seconds, bytes in hexadecimal
    smf.py densest FILE              the most events that one of its ticks has
    smf.py cut SECONDS FILE NEW      the beginning as a file of its own, with nothing left sounding
"""

import struct
import sys
from collections import Counter, namedtuple

# What is on the wire, and when: `data` is one whole MIDI 1.0 message.
Event = namedtuple("Event", "seconds tick data")

# Bytes after a status byte, by its upper half; system messages by the whole byte.
LENGTHS = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}
SYSTEM_LENGTHS = {0xF1: 1, 0xF2: 2, 0xF3: 1}


def chunks(data):
    """The chunks of a file: (name, content)."""
    at = 0
    while at + 8 <= len(data):
        name, length = data[at : at + 4], struct.unpack(">I", data[at + 4 : at + 8])[0]
        yield name, data[at + 8 : at + 8 + length]
        at += 8 + length


class Track:
    """The events of one track, as (tick, kind, data): kind is `midi`, `tempo` or `end`."""

    def __init__(self, data):
        self.data, self.at, self.tick, self.status = data, 0, 0, None
        self.sysex = b""

    def byte(self):
        value = self.data[self.at]
        self.at += 1
        return value

    def take(self, count):
        taken = self.data[self.at : self.at + count]
        assert len(taken) == count, f"the track ends within an event at {self.at}"
        self.at += count
        return taken

    def number(self):
        value = 0
        while True:
            byte = self.byte()
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value

    def events(self):
        while self.at < len(self.data):
            self.tick += self.number()
            for kind, data in self.event():
                yield self.tick, kind, data
                if kind == "end":
                    return

    def event(self):
        status = self.byte()
        if status == 0xFF:
            self.status = None
            kind, data = self.byte(), self.take(self.number())
            if kind == 0x51:
                yield "tempo", int.from_bytes(data, "big")
            elif kind == 0x2F:
                yield "end", b""
        elif status in (0xF0, 0xF7):
            self.status = None
            yield from self.packet(status, self.take(self.number()))
        else:
            if status < 0x80:
                self.at -= 1
                status = self.status
            self.status = status
            yield "midi", bytes([status]) + self.take(LENGTHS[status >> 4])

    def packet(self, status, data):
        """A SysEx, a piece of one, or bytes of any kind: F7 outside a SysEx."""
        if status == 0xF0:
            self.sysex = b"\xf0" + data
        elif self.sysex:
            self.sysex += data
        else:
            for message in stream(data):
                yield "midi", message
            return
        if self.sysex.endswith(b"\xf7"):
            for message in stream(self.sysex):
                yield "midi", message
            self.sysex = b""


def stream(data):
    """The messages that a receiver makes of these bytes. Some files hold SysEx with a status byte in it,
    a checksum above 7F or channel messages: it ends the SysEx, which then is none."""
    message, running = b"", b""
    for byte in data:
        if byte >= 0xF8:
            yield bytes([byte])
            continue
        if byte == 0xF7:
            if message[:1] == b"\xf0":
                yield message + b"\xf7"
            message = running = b""
            continue
        if byte >= 0x80:
            message = bytes([byte])
            running = message if byte < 0xF0 else b""
        elif message or running:
            message = (message or running) + bytes([byte])
        if message and message[0] != 0xF0 and len(message) == 1 + data_bytes(message[0]):
            yield message
            message = b""


def data_bytes(status):
    """How many data bytes follow a status byte."""
    return SYSTEM_LENGTHS.get(status, LENGTHS.get(status >> 4, 0))


def read(path):
    """The file's format, division, and all its events by tick, then track, then place."""
    with open(path, "rb") as file:
        parts = list(chunks(file.read()))
    assert parts[0][0] == b"MThd", f"{path} is no Standard MIDI File"
    file_format, _, division = struct.unpack(">HHH", parts[0][1][:6])
    tracks = [Track(content) for name, content in parts if name == b"MTrk"]
    events = [
        (tick, number, place, kind, data)
        for number, track in enumerate(tracks)
        for place, (tick, kind, data) in enumerate(track.events())
    ]
    events.sort(key=lambda event: event[:3])
    return file_format, division, events


def messages(path):
    """The file's messages in playing order, with their times."""
    _, division, events = read(path)
    if division & 0x8000:
        frames = 256 - (division >> 8)
        # 29 stands for 30 drop frame: 30,000 frames in 1,001 s.
        rate = 30000 / 1001 if frames == 29 else frames
        per_tick, fixed = 1 / (rate * (division & 0xFF)), True
    else:
        per_tick, fixed = 0.5 / division, False
    now, last = 0.0, 0
    for tick, _, _, kind, data in events:
        now, last = now + (tick - last) * per_tick, tick
        if kind == "tempo" and not fixed:
            per_tick = data / 1e6 / division
        elif kind == "midi":
            yield Event(now, tick, data)


def number_bytes(value):
    """A number of variable length."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def cut(seconds, path, new):
    """Writes the first seconds as a file of one track; what sounds then ends there."""
    _, division, events = read(path)
    assert not division & 0x8000, "only files in ticks per quarter note can be cut"
    limit = max((m.tick for m in messages(path) if m.seconds <= seconds), default=0)
    track, last, sounding = bytearray(), 0, {}
    for tick, _, _, kind, data in events:
        if tick > limit or kind == "end":
            continue
        track += number_bytes(tick - last)
        last = tick
        if kind == "tempo":
            track += b"\xff\x51\x03" + data.to_bytes(3, "big")
        elif data[0] == 0xF0:
            track += b"\xf0" + number_bytes(len(data) - 1) + data[1:]
        else:
            track += data
            if data[0] >> 4 in (8, 9):
                key = (data[0] & 15, data[1])
                sounding[key] = data[0] >> 4 == 9 and data[2] > 0
    for (channel, note), on in sounding.items():
        if on:
            track += bytes([0, 0x80 | channel, note, 0])
    track += b"\0\xff\x2f\0"
    with open(new, "wb") as file:
        file.write(b"MThd" + struct.pack(">IHHH", 6, 0, 1, division))
        file.write(b"MTrk" + struct.pack(">I", len(track)) + track)


def main(arguments):
    match arguments:
        case ["count", *paths]:
            for path in paths:
                events = list(messages(path))
                print(f"{len(events)} {events[-1].seconds if events else 0:.1f} {path}")
        case ["list", path]:
            for event in messages(path):
                print(f"{event.seconds:.6f} {event.data.hex()}")
        case ["densest", path]:
            ticks = Counter(event.tick for event in messages(path))
            print(max(ticks.values(), default=0))
        case ["cut", seconds, path, new]:
            cut(float(seconds), path, new)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
