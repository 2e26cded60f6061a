#!/usr/bin/env python3
"""Plays at a steady pace into a program that reads JSONMIDI.

    traffic.py notes RATE SECONDS [CHANNELS] -- COMMAND...
        note-on and note-off by turns, RATE of them a second; no two pairs are alike for 16,000 pairs
    traffic.py sweeps RATE SECONDS -- COMMAND...
        RATE events a second: ten of them are notes, the others move eight controllers and the pitch
        bend, on one channel; the last values are 1 to 8, and the bend ends in its centre
    traffic.py ticks BPM SECONDS -- COMMAND...
        a sequencer's clock: 24 ticks a beat

COMMAND gets the lines on standard input as their time comes; its exit status is this one's. One line of
JSON in the end says how many were sent, in how many seconds.
"""

import json
import subprocess
import sys
import time

CONTROLLERS = (1, 7, 10, 11, 71, 74, 91, 93)


def note(pair, on, channels):
    return {"type": "noteOn" if on else "noteOff", "channel": 1 + pair % channels, "note": pair % 128,
            "velocity": 1 + pair // 128 % 127}


def notes(rate, seconds, channels=4):
    """(offset in s, record), by turns on and off."""
    # An even number, so that nothing is left.
    for number in range(int(rate * seconds) // 2 * 2):
        yield number / rate, note(number // 2, number % 2 == 0, channels)


def ticks(bpm, seconds):
    """(offset in s, record): clocks, 24 a beat."""
    rate = bpm * 24 / 60
    for number in range(int(rate * seconds)):
        yield number / rate, {"type": "clock"}


def controller(number, value):
    return {"type": "controlChange", "channel": 1, "controller": number, "value": value}


def sweeps(rate, seconds):
    """(offset in s, record): controllers going up and down, and a note each tenth of a second."""
    total, played = int(rate * seconds), 0
    for number in range(total):
        at = number / rate
        # Ten events of notes a second: five notes.
        if number * 10 // rate > (number - 1) * 10 // rate:
            yield at, note(played // 2, played % 2 == 0, 1)
            played += 1
        elif number % 9 == 8:
            yield at, {"type": "pitchBend", "channel": 1, "value": number * 16 % 16384}
        else:
            yield at, controller(CONTROLLERS[number % 9], number // 9 % 128)
    if played % 2:
        yield total / rate, note(played // 2, False, 1)
    for value, number in enumerate(CONTROLLERS, 1):
        yield total / rate, controller(number, value)
    yield total / rate, {"type": "pitchBend", "channel": 1, "value": 8192}


def play(events, command):
    program = subprocess.Popen(command, stdin=subprocess.PIPE)
    began, sent = time.monotonic(), 0
    for offset, record in events:
        wait = began + offset - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        program.stdin.write(json.dumps(record).encode() + b"\n")
        program.stdin.flush()
        sent += 1
    took = time.monotonic() - began
    program.stdin.close()
    status = program.wait()
    print(json.dumps({"sent": sent, "seconds": round(took, 3)}))
    return status


def main(arguments):
    at = arguments.index("--") if "--" in arguments else len(arguments)
    command = arguments[at + 1:]
    match arguments[:at]:
        case ["notes", rate, seconds, *channels] if command:
            return play(notes(float(rate), float(seconds), *map(int, channels)), command)
        case ["sweeps", rate, seconds] if command:
            return play(sweeps(float(rate), float(seconds)), command)
        case ["ticks", bpm, seconds] if command:
            return play(ticks(float(bpm), float(seconds)), command)
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
