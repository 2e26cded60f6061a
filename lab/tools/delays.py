#!/usr/bin/env python3
"""How long events took from one node to another, which were not played, and what is left sounding.

    delays.py [--port PORT] [--from TIME] [--to TIME] NETWORK NEAR FAR

NEAR and FAR hold lines of `midip2p monitor --json` at the sending and the receiving node, on one machine:
both nodes read the same CLOCK_MONOTONIC. The `time` of a line in NEAR is when the sender's real-time
thread took the event in, that of a line in FAR when the receiver's real-time thread wrote it to its
output; programs, pipes and web sockets on either side are not in the difference. NETWORK is the
network's own delay in ms, which is taken off. Only events that NEAR took between the two times (µs)
count. Prints one JSON object:

    sent, played    events; rate: how many were sent a second
    p50, p99, max   ms beyond the network's delay, of all events that were played
    note_ons, note_ons_missing    and how many of them were never played
    missing         events of any kind that were never played
    extra           note-ons played that nobody sent, or twice
    stuck           notes that sound at the far end and not at the near one, in the end
    differs         how the two ends differ otherwise, notes that were not played excused
"""

import argparse
import collections
import json

import device
import jsonmidi


def match(sent, played):
    """Pairs the times of like events: ((when sent, delay) in µs, how many of `sent` were not played, how many of
    `played` nobody sent). Backwards: a play belongs to the newest sending before it that no later play
    has, which is exact when nothing is missing and kind to the network when something is."""
    delays, missing, extra, sent = [], 0, 0, list(sent)
    for at in reversed(played):
        while sent and sent[-1] > at:
            missing += 1
            sent.pop()
        if sent:
            delays.append((sent[-1], at - sent.pop()))
        else:
            extra += 1
    return delays, missing + len(sent), extra


def by_message(messages):
    times = collections.defaultdict(list)
    for at, data in messages:
        times[data].append(at)
    return times


def is_note_on(data):
    return data[0] >> 4 == 9 and data[2] > 0


def quantile(ordered, share):
    """The value at that rank, in ms; None of nothing."""
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1000, 2) if ordered else None


def report(network_ms, near, far):
    """What is printed, and all delays beyond the network's as (when sent, delay) in µs."""
    sent, played = by_message(near), by_message(far)
    result = collections.Counter()
    delays = []
    for data, times in sent.items():
        took, missing, extra = match(times, played.get(data, []))
        delays += took
        result["missing"] += missing
        if is_note_on(data):
            result["note_ons"] += len(times)
            result["note_ons_missing"] += missing
            result["extra"] += extra
    result["extra"] += sum(len(t) for d, t in played.items() if is_note_on(d) and d not in sent)
    ours, theirs = device.after(near), device.after(far)
    differs = device.differences(ours, theirs, excused=ours.notes)
    delays = [(at, delay - network_ms * 1000) for at, delay in delays]
    ordered = sorted(delay for _, delay in delays)
    seconds = (near[-1][0] - near[0][0]) / 1e6 if len(near) > 1 else 0
    whole = {
        "sent": len(near), "played": len(delays), "rate": round(len(near) / seconds, 1) if seconds else 0,
        "p50": quantile(ordered, 0.5), "p99": quantile(ordered, 0.99), "max": quantile(ordered, 1),
        "missing": result["missing"], "note_ons": result["note_ons"],
        "note_ons_missing": result["note_ons_missing"], "extra": result["extra"],
        "stuck": len(theirs.notes - ours.notes), "differs": "; ".join(d for d in differs if "hangs" not in d),
    }
    return whole, delays


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--port")
    parser.add_argument("--from", dest="start", type=int, default=0)
    parser.add_argument("--to", dest="end", type=int, default=1 << 62)
    parser.add_argument("network", type=float)
    parser.add_argument("near")
    parser.add_argument("far")
    asked = parser.parse_args()
    near = [m for m in jsonmidi.messages(asked.near, asked.port) if asked.start <= m[0] <= asked.end]
    far = [m for m in jsonmidi.messages(asked.far, asked.port) if asked.start <= m[0]]
    if asked.end < 1 << 62:
        # What was played later and belongs to events after the end is not looked at.
        known = {data for _, data in near}
        far = [m for m in far if m[1] in known]
    print(json.dumps(report(asked.network, near, far)[0]))


if __name__ == "__main__":
    main()
