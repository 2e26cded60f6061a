#!/usr/bin/env python3
"""Is what arrived what the files say?

    compare.py events MONITOR FILE...    the files one after the other, event by event
    compare.py lanes MONITOR FILE...     the same for each kind of message by itself (SysEx; real-time
                                         bytes; all others), and how many SysEx and real-time bytes
                                         are not at their place among the others
    compare.py strands MONITOR FILE...   as lanes, but each channel by itself: on a bad network no channel
                                         waits for another
    compare.py timing MONITOR FILE       how far each event was from its time, in ms

MONITOR holds the lines of `midip2p monitor --json`. After a file's last event its player may release
what the file left sounding, held or bent; nothing else may be there. Exit status 1 if anything differs.
"""

import sys

import jsonmidi
import smf

PEDALS = (64, 66, 67, 69)


class Left:
    """What messages leave sounding, held or bent, so that it can be released."""

    def __init__(self):
        self.left = set()

    def take(self, data):
        kind, channel = data[0] >> 4, data[0] & 15
        if kind in (8, 9):
            self.keep(("note", channel, data[1]), kind == 9 and data[2] > 0)
        elif kind == 0xB and data[1] in PEDALS:
            self.keep(("pedal", channel, data[1]), data[2] > 0)
        elif kind == 0xE:
            self.keep(("bend", channel), data[1:] != b"\x00\x40")

    def keep(self, what, on):
        (self.left.add if on else self.left.discard)(what)

    def released_by(self, data):
        """What the message releases, if that is all it does."""
        kind, channel = data[0] >> 4, data[0] & 15
        if kind == 8:
            what = ("note", channel, data[1])
        elif kind == 0xB and data[1] in PEDALS and data[2] == 0:
            what = ("pedal", channel, data[1])
        elif kind == 0xE and data[1:] == b"\x00\x40":
            what = ("bend", channel)
        else:
            return None
        return what if what in self.left else None


def differ(path, number, wanted, got):
    name = path.rsplit("/", 1)[-1]
    wanted, got = (text if len(text) <= 80 else text[:76] + "…" for text in (wanted, got))
    sys.exit(f"{name}, event {number + 1}: wanted {wanted or 'nothing more'}, got {got or 'nothing'}")


def quiet(monitor):
    """Ends the program when the node said that something was lost, or could not be read."""
    for line in jsonmidi.others(monitor):
        if line.get("status") in ("lost", "error"):
            sys.exit(f"the monitor said {line}")


def everything(_):
    return True


def match(paths, got, chosen=everything):
    """Compares the chosen messages of the files with `got`: how many, and where in `got` the releases are."""
    # What one file leaves is released with the port that played it: after the last of them.
    at, releases, left = 0, [], Left()
    for path in paths:
        for number, event in enumerate(e for e in smf.messages(path) if chosen(e.data)):
            arrived = got[at] if at < len(got) else b""
            if arrived != event.data:
                differ(path, number, event.data.hex(), arrived.hex())
            left.take(event.data)
            at += 1
        while at < len(got) and (what := left.released_by(got[at])):
            left.left.discard(what)
            releases.append(at)
            at += 1
    if at < len(got):
        differ(paths[-1], at, "", got[at].hex())
    return at - len(releases), releases


def events(monitor, paths):
    quiet(monitor)
    total, releases = match(paths, [data for _, data in jsonmidi.messages(monitor)])
    print(f"{total} events of {len(paths)} files equal, {len(releases)} releases after their ends")


def is_sysex(data):
    return data[0] == 0xF0


def is_clock(data):
    return data[0] >= 0xF8


def is_other(data):
    return not is_sysex(data) and not is_clock(data)


def before(sequence, chosen, releases=()):
    """For each chosen message, how many of the others stand before it, releases not counted."""
    place, count, counts, releases = 0, 0, [], set(releases)
    for data in sequence:
        if chosen(data):
            counts.append(count)
        elif is_other(data):
            count += place not in releases
            place += 1
    return counts


def strand(data):
    """What stays in order: a channel, or what is for none."""
    return data[0] & 15 if data[0] < 0xF0 else None


def match_strands(paths, got, chosen):
    """As match(), for each strand of the chosen messages by itself."""
    total, releases = 0, []
    for one in (*range(16), None):
        places = [at for at, data in enumerate(got) if strand(data) == one]
        of_it = lambda data, one=one: chosen(data) and strand(data) == one
        count, released = match(paths, [got[at] for at in places], of_it)
        total += count
        releases += [places[at] for at in released]
    return total, releases


def lanes(monitor, paths, match_others=match):
    quiet(monitor)
    got = [data for _, data in jsonmidi.messages(monitor)]
    wanted = [event.data for path in paths for event in smf.messages(path)]
    total, releases = match_others(paths, [data for data in got if is_other(data)], is_other)
    moved = []
    for kind in (is_sysex, is_clock):
        total += match(paths, [data for data in got if kind(data)], kind)[0]
        moved.append(sum(a != b for a, b in zip(before(wanted, kind), before(got, kind, releases))))
    print(f"{total} events equal, each kind in its order; not at their place among the others: "
          f"sysex {moved[0]}, real-time {moved[1]}")


def timing(monitor, path):
    wanted, got = list(smf.messages(path)), list(jsonmidi.messages(monitor))
    for number, event in enumerate(wanted):
        arrived = got[number][1] if number < len(got) else b""
        if arrived != event.data:
            differ(path, number, event.data.hex(), arrived.hex())
    late = [time / 1000 - event.seconds * 1000 for event, (time, _) in zip(wanted, got)]
    # The two clocks have different zeros: what is common to all events is no error.
    middle = sorted(late)[len(late) // 2]
    error = sorted(abs(one - middle) for one in late)
    drift = late[-1] - late[0]
    p50, p99 = error[len(error) // 2], error[len(error) * 99 // 100]
    print(f"{p50:.3f} {p99:.3f} {error[-1]:.3f} {len(error)} {wanted[-1].seconds:.1f} {drift:.3f}")


def main(arguments):
    match arguments:
        case ["events", monitor, *paths] if paths:
            events(monitor, paths)
        case ["lanes", monitor, *paths] if paths:
            lanes(monitor, paths)
        case ["strands", monitor, *paths] if paths:
            lanes(monitor, paths, match_strands)
        case ["timing", monitor, path]:
            timing(monitor, path)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
