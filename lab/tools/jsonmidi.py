"""From JSONMIDI to MIDI 1.0 bytes, written from docs/jsonmidi.md alone: a second opinion."""

import json

# type -> (status, keys of its data bytes); `*` is a value of 14 bits, the lower seven first.
VOICE = {
    "noteOff": (0x80, ["note", "velocity"]),
    "noteOn": (0x90, ["note", "velocity"]),
    "keyAftertouch": (0xA0, ["note", "value"]),
    "controlChange": (0xB0, ["controller", "value"]),
    "programChange": (0xC0, ["program"]),
    "channelAftertouch": (0xD0, ["value"]),
    "pitchBend": (0xE0, ["*"]),
}
SYSTEM = {
    "timecode": (0xF1, ["value"]),
    "songPosition": (0xF2, ["*"]),
    "songSelect": (0xF3, ["value"]),
    "tuneRequest": (0xF6, []),
    "clock": (0xF8, []),
    "start": (0xFA, []),
    "continue": (0xFB, []),
    "stop": (0xFC, []),
    "activeSensing": (0xFE, []),
    "reset": (0xFF, []),
}


def to_bytes(record):
    """The MIDI 1.0 message that a record says."""
    assert record.get("midi", 1) == 1 and record.get("group", 1) == 1, record
    kind = record["type"]
    if kind == "sysex":
        return b"\xf0" + bytes.fromhex(record["data"]) + b"\xf7"
    if kind == "bytes":
        return bytes.fromhex(record["data"])
    if kind in VOICE:
        status, keys = VOICE[kind]
        status |= record["channel"] - 1
    else:
        status, keys = SYSTEM[kind]
    data = [status]
    for key in keys:
        value = record["value"] if key == "*" else record[key]
        data += [value & 0x7F, value >> 7] if key == "*" else [value]
    assert all(0 <= byte < 0x80 for byte in data[1:]), record
    return bytes(data)


def messages(path, port=None):
    """The messages of a file of JSON lines: (time in µs or None, bytes), without lines of other kinds.
    With `port`, only those of the port of that name, here or on another node."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if port and record.get("port", "").split(" @ ")[0] != port:
                continue
            if "type" in record:
                yield record.get("time"), to_bytes(record)


def others(path):
    """The lines of other kinds, which a node says of itself."""
    with open(path, encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [record for record in records if "type" not in record]
