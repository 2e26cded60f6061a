#!/usr/bin/env python3
"""A program that sends on what it hears, as a sequencer with its thru on does, until it is ended.

    thru.py SOCKET NAME     opens a port NAME, source and destination, at the node with that socket

Prints what it heard, with the time in µs (CLOCK_MONOTONIC) in front.
"""
import json, pathlib, sys, time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples"))
import toast_client


class Thru(toast_client.Toast):
    def heard(self, line):
        record = json.loads(line)
        if "status" in record:
            return super().heard(line)
        print(time.monotonic_ns() // 1000, line, flush=True)
        for key in ("time", "source", "from"):
            record.pop(key, None)
        self.say(json.dumps(record))


toast = Thru(sys.argv[1], sys.argv[2].encode())
toast.say(json.dumps({"command": "open", "name": sys.argv[2], "source": True, "destination": True, "exported": True}))
toast.wait_for("ready")
print("ready", flush=True)
while True:
    toast.wait_for(None)
