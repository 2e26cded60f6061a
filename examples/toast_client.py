#!/usr/bin/env python3
"""Plays and hears MIDI through a midip2p node: one socket and Python's standard library.

    toast_client.py --to "Synth @ studio" '{"type":"noteOn","channel":1,"note":60,"velocity":100}'
    toast_client.py --from "*" < /dev/null          print what is played, until Ctrl-C
    toast_client.py --to Synth < notes.jsonl        send lines, a SysEx of any length among them
The protocol is TOAST (docs/protocol.md, sections 5 and 6.10), the lines are JSONMIDI (docs/jsonmidi.md).
"""
import argparse, contextlib, glob, json, os, queue, socket, struct, sys, tempfile, threading, zlib

HELLO, HEARTBEAT, JSONMIDI, BYE = 1, 2, 6, 9  # the types of frames that a client needs
VERSION, JSON_ONLY, STOPPING = 1, 1 << 1, 1
NODE = os.urandom(32), os.urandom(8)  # its id, and which start of it this is


class Toast:
    def __init__(self, node, name):
        if os.path.exists(node):  # its socket: whoever may open it is its user
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(node)
        else:  # by the network, of a node that lets everybody in
            host, _, port = node.rpartition(":")
            self.socket = socket.create_connection((host.strip("[]"), port))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lock, self.sequence, self.words = threading.Lock(), 0, queue.Queue()
        hello = struct.pack(">HHQ32s8sIHH", VERSION, VERSION, JSON_ONLY, *NODE, 0, 0, 0)
        self.send(HELLO, hello + struct.pack(">BH", 1, len(name)) + name)
        threading.Thread(target=self.read, daemon=True).start()

    def send(self, kind, payload, wait=True):
        if not self.lock.acquire(blocking=wait):
            return  # something is on its way, which says as much as a heartbeat
        try:
            self.sequence = (self.sequence + 1) % (1 << 32)
            frame = struct.pack(">IIQI", 20 + len(payload), kind, 0, self.sequence) + payload
            self.socket.sendall(frame + struct.pack(">I", zlib.crc32(frame)))
        finally:
            self.lock.release()

    def say(self, line):
        data = line.strip().encode() + b"\n"
        for at in range(0, len(data), 32768):  # a line may be cut anywhere
            self.send(JSONMIDI, data[at:at + 32768])

    def read(self):
        stream, parts = self.socket.makefile("rb"), []
        with contextlib.suppress(OSError):
            while len(head := stream.read(4)) == 4:
                body = stream.read(int.from_bytes(head, "big"))
                kind, payload = int.from_bytes(body[:4], "big"), body[16:-4]
                if zlib.crc32(head + body[:-4]) != int.from_bytes(body[-4:], "big"):
                    continue  # damaged: the next frame is found all the same
                if kind == HEARTBEAT:
                    self.send(HEARTBEAT, bytes(8) + payload[:8], wait=False)  # with the echo
                elif kind == BYE:
                    return self.words.put({"status": "bye", "error": payload[1:].decode()})
                elif kind == JSONMIDI:
                    parts.append(payload)
                    if b"\n" in payload:
                        *lines, rest = b"".join(parts).split(b"\n")
                        parts = [rest]
                        for line in lines:
                            self.heard(line.decode())
        self.words.put({"status": "bye", "error": "the connection ended"})

    def heard(self, line):
        if not line.startswith('{"status"'):
            return print(line, flush=True)
        self.words.put(json.loads(line))
        if line.startswith(('{"status":"error"', '{"status":"lost"')):
            print(line, file=sys.stderr)

    def wait_for(self, status):
        while (word := self.words.get())["status"] != status:
            if word["status"] == "bye" or (word["status"], status) == ("error", "ready"):
                sys.exit(f"toast_client: {word['error']}")
        return word


def answers(path):
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(path)
        return True


def only_node():
    """The socket of the node that runs here."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    where = f"{base}/midip2p" if base else f"{tempfile.gettempdir()}/midip2p-{os.getuid()}"
    if os.path.isdir(where) and os.stat(where).st_uid != os.getuid():
        sys.exit(f"toast_client: {where} belongs to another user")
    found = [path for path in glob.glob(f"{glob.escape(where)}/*.sock") if answers(path)]
    if len(found) != 1:
        sys.exit(f"toast_client: {len(found)} nodes run here; start one, or say which with --node: {found}")
    return found[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Play and hear MIDI through a midip2p node.")
    parser.add_argument("--node", help="its socket, or HOST:PORT of one that lets everybody in")
    parser.add_argument("--name", default="toast_client", help="the name of the port")
    parser.add_argument("--to", action="append", default=[], help="a destination; repeatable")
    parser.add_argument("--from", action="append", default=[], dest="hear", help="a source; *: all")
    parser.add_argument("record", nargs="*", help="JSONMIDI to play; none: lines of stdin")
    args, toast = parser.parse_args(), None
    node = args.node or only_node()
    try:
        toast = Toast(node, args.name.encode())
        port = {"name": args.name, "source": True, "exported": True, "to": args.to, "from": args.hear}
        toast.say(json.dumps({"command": "open", **port}))
        toast.wait_for("ready")
        for line in args.record or sys.stdin:
            toast.say(line)
        toast.say('{"command":"flush"}')
        missing = toast.wait_for("flushed")["missing"]
        toast.wait_for(None) if args.hear else toast.send(BYE, bytes([STOPPING]))
        sys.exit(f"toast_client: {missing} messages were not acknowledged" if missing else 0)
    except KeyboardInterrupt:
        toast and toast.send(BYE, bytes([STOPPING]))
    except OSError as error:
        toast and toast.wait_for(None)  # what the node said before it ended the connection
        sys.exit(f"toast_client: no node at {node}: {error}")
