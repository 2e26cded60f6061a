#!/usr/bin/env python3
"""How the notes of some nodes came to all nodes of a mesh.

    mesh.py OUT NODES PLAYERS

OUT/heard-nI.out holds the lines of `midip2p monitor --json` at node nI, 1 to NODES; the first PLAYERS nodes played on
their ports Keys. As in delays.py a delay is from real-time thread to real-time thread, of one machine. Prints one JSON
object: sent (by all), played (of what was sent times the other nodes), missing, extra, stuck, p50, p99, p99.9, max in ms.
"""

import collections
import json
import sys

import delays
import device
import jsonmidi


def by_port(path):
    """The lines of each port: (time in µs, bytes)."""
    ports = collections.defaultdict(list)
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            data = jsonmidi.to_bytes(record)
            if data and "time" in record:
                ports[record["port"]].append((record["time"], data))
    return ports


def main():
    out, nodes, players = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    heard = {n: by_port(f"{out}/heard-n{n}.out") for n in range(1, nodes + 1)}
    total, took = collections.Counter(), []
    for player in range(1, players + 1):
        near = heard[player]["Keys"]
        sent = delays.by_message(near)
        total["sent"] += len(near)
        for node in range(1, nodes + 1):
            if node == player:
                continue
            far = heard[node][f"Keys @ n{player}"]
            played = delays.by_message(far)
            for data, times in sent.items():
                some, missing, extra = delays.match(times, played.get(data, []))
                took += [delay for _, delay in some]
                total["missing"] += missing
                total["extra"] += extra
            total["stuck"] += len(device.after(far).notes)
    took.sort()
    result = {key: total[key] for key in ("sent", "missing", "extra", "stuck")}
    result["played"] = len(took)
    for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1)):
        result[name] = delays.quantile(took, share)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
