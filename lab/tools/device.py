#!/usr/bin/env python3
"""A synthesizer's view of MIDI: what sounds, where its controllers stand, its programs and parameters.

    device.py same NEAR FAR [PORT]          prints what differs after the last message; exit status 1 if anything
    device.py settled NEAR FAR TIME [LATE]  in ms after TIME (µs): when FAR came to agree with what NEAR
                                            said in the end, and stayed so. With LATE (µs), notes that
                                            began in NEAR between LATE and TIME need not sound in FAR,
                                            but none that has ended may.
    device.py sounding FAR                  what sounds after the last message, as channel/note

NEAR and FAR hold lines of `midip2p monitor --json`, from one machine: the times are comparable.
"""

import sys

import jsonmidi

# What a device stands at when nobody has said anything: pedals up, data entry and selection none.
CENTRE = b"\x00\x40"
PEDALS = (64, 66, 67, 69)
NOTHING = (127, 127)


class Device:
    """All sixteen channels."""

    def __init__(self):
        self.notes, self.values = set(), {}
        # The parameter that data entry goes to: (98 for NRPN or 100 for RPN, high, low), by channel.
        self.selected = {}

    def take(self, data):
        kind, channel = data[0] >> 4, data[0] & 15
        if kind == 9 and data[2] > 0:
            self.notes.add((channel, data[1]))
        elif kind in (8, 9):
            self.notes.discard((channel, data[1]))
        elif kind == 0xB:
            self.control(channel, data[1], data[2])
        elif kind == 0xC:
            bank = tuple(self.values.get((channel, "controller", c)) for c in (0, 32))
            self.values[channel, "program"] = (data[1], bank)
        elif kind == 0xE:
            self.keep((channel, "bend"), data[1:], CENTRE)
        elif kind == 0xD:
            self.keep((channel, "pressure"), data[1], 0)
        elif kind == 0xA:
            self.keep((channel, "pressure", data[1]), data[2], 0)

    def keep(self, what, value, rest):
        """A value that is where a device starts is the same as none."""
        if value == rest:
            self.values.pop(what, None)
        else:
            self.values[what] = value

    def control(self, channel, controller, value):
        if controller in (98, 99, 100, 101):
            kind = controller & ~1
            old, high, low = self.selected.get(channel, (kind, *NOTHING))
            if old != kind:
                high, low = NOTHING
            self.selected[channel] = (kind, value, low) if controller & 1 else (kind, high, value)
        elif controller in (6, 38):
            selected = self.selected.get(channel, (100, *NOTHING))
            if selected[1:] != NOTHING:
                # Who sets the upper seven bits alone means the lower ones to be zero.
                self.keep((channel, "parameter", *selected, controller), value, 0 if controller == 38 else None)
        elif controller in (120, 123):
            self.notes = {n for n in self.notes if n[0] != channel}
        elif controller < 120:
            self.keep((channel, "controller", controller), value, 0 if controller in PEDALS else None)

    def state(self):
        chosen = {(c, "selected"): s for c, s in self.selected.items() if s[1:] != NOTHING}
        return self.values | chosen


def differences(near, far, excused=frozenset()):
    """What the far device does not have as the near one does."""
    found = [f"note {n} of channel {c + 1} does not sound" for c, n in near.notes - far.notes - excused]
    found += [f"note {n} of channel {c + 1} hangs" for c, n in far.notes - near.notes]
    wanted, got = near.state(), far.state()
    found += [f"{key}: {wanted.get(key)} became {got.get(key)}"
              for key in wanted.keys() | got.keys() if wanted.get(key) != got.get(key)]
    return found


def after(messages):
    device = Device()
    for _, data in messages:
        device.take(data)
    return device


def same(near, far, port=None):
    found = differences(after(jsonmidi.messages(near, port)),
                        after(jsonmidi.messages(far, port)))
    print("; ".join(found) if found else "the same")
    return 1 if found else 0


def settled(near, far, time, late=None):
    wanted, began = Device(), {}
    for at, data in jsonmidi.messages(near):
        wanted.take(data)
        if data[0] >> 4 == 9:
            began[data[0] & 15, data[1]] = at
    excused = {n for n, at in began.items() if late is not None and late <= at <= time}
    got, since, found = Device(), 0, differences(wanted, Device(), excused)
    for at, data in jsonmidi.messages(far):
        got.take(data)
        before, found = found, differences(wanted, got, excused)
        if before and not found:
            since = at
    if found:
        print("; ".join(found))
        return 1
    print(round((since - time) / 1000, 1))
    return 0


def main(arguments):
    match arguments:
        case ["same", near, far, *port]:
            return same(near, far, *port)
        case ["sounding", far]:
            print(" ".join(f"{c + 1}/{n}" for c, n in sorted(after(jsonmidi.messages(far)).notes)) or "none")
            return 0
        case ["settled", near, far, time, *late]:
            return settled(near, far, int(time), *map(int, late))
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
