#!/usr/bin/env python3
"""Asks nodes for /network/mesh at a steady pace, and checks every answer.

    queries.py PER_SECOND SECONDS OPENAPI NODE...     each NODE: ADDRESS:PORT,ID,TOKEN-FILE

Each node is asked PER_SECOND times a second, over two connections that stay open. A request has its moment, whatever
became of the one before: an answer's time runs from then, so a node that dawdles is not asked less. Answers are kept
while it asks and checked afterwards: each must be what the file OPENAPI says of it, have each peer once, and never the
node itself. Prints the figures as one JSON object; exit code 1 when an answer is wrong or did not come.
"""

import collections
import json
import re
import selectors
import socket
import sys
import time

CONNECTIONS = 2
TYPES = {
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
    "null": lambda v: v is None,
}
# What the check below understands; a description that says more would not be checked.
UNDERSTOOD = {"type", "required", "properties", "items", "pattern", "minimum", "maximum", "allOf", "oneOf"}
SAID = {"description", "format", "$ref"}


class Wrong(Exception):
    pass


def check(value, schema, document, at):
    """The value is what the schema says; `at` says where for people."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    strange = schema.keys() - UNDERSTOOD - SAID
    if strange:
        raise Wrong(f"{at}: this program does not know {strange}")
    for part in schema.get("allOf", ()):
        check(value, part, document, at)
    if "oneOf" in schema:
        fits = 0
        for part in schema["oneOf"]:
            try:
                check(value, part, document, at)
                fits += 1
            except Wrong:
                pass
        if fits != 1:
            raise Wrong(f"{at}: fits {fits} of what it may be")
    kinds = schema.get("type")
    if kinds is not None:
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not any(TYPES[kind](value) for kind in kinds):
            raise Wrong(f"{at}: {value!r} is not {kinds}")
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            raise Wrong(f"{at}: {value!r} does not match {schema['pattern']}")
    elif isinstance(value, dict):
        for name in schema.get("required", ()):
            if name not in value:
                raise Wrong(f"{at}: no {name}")
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                check(value[name], inner, document, f"{at}.{name}")
    elif isinstance(value, list):
        for n, one in enumerate(value):
            check(one, schema.get("items", {}), document, f"{at}[{n}]")
    elif isinstance(value, (int, float)):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            raise Wrong(f"{at}: {value} is out of its range")


class Connection:
    def __init__(self, number, address, token):
        host, port = address.rsplit(":", 1)
        self.number = number
        self.stream = socket.create_connection((host, int(port)), 5)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = (
            f"GET /network/mesh HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        self.waiting = collections.deque()
        self.asked = None
        self.got = b""

    def ask(self):
        if self.asked is None and self.waiting:
            self.asked = self.waiting.popleft()
            self.stream.sendall(self.request)

    def take(self, answers):
        """Reads what is there; an answer that is whole goes to the others, with its time."""
        more = self.stream.recv(1 << 16)
        if not more:
            raise Wrong(f"node {self.number} closed a connection")
        self.got += more
        head, end, body = self.got.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.I)
        if not end or len(body) < int(length[1]):
            return
        answers.append((self.number, time.monotonic() - self.asked, head, body))
        self.got, self.asked = b"", None
        self.ask()


def ask_all(nodes, per_second, seconds):
    selector = selectors.DefaultSelector()
    connections = [
        Connection(n, address, open(token).read().strip())
        for n, (address, _, token) in enumerate(nodes)
        for _ in range(CONNECTIONS)
    ]
    for connection in connections:
        selector.register(connection.stream, selectors.EVENT_READ, connection)
    # The requests of all connections one after the other, evenly.
    total, every = len(nodes) * per_second * seconds, 1 / (len(nodes) * per_second)
    answers, late, begun, sent = [], [], time.monotonic() + 0.1, 0
    while len(answers) < total:
        now = time.monotonic()
        if now > begun + seconds + 5:
            raise Wrong(f"{total - len(answers)} of {total} answers did not come within 5 s")
        while sent < total and begun + sent * every <= now:
            connection = connections[sent % len(connections)]
            due = begun + sent * every
            late.append(now - due)
            connection.waiting.append(due)
            connection.ask()
            sent += 1
        until = begun + sent * every if sent < total else now + 0.1
        for key, _ in selector.select(max(0, until - time.monotonic())):
            key.data.take(answers)
    return answers, late, time.monotonic() - begun


def check_all(answers, nodes, document):
    ids = [node for _, node, _ in nodes]
    said = document["paths"]["/network/mesh"]["get"]["responses"]["200"]["content"]
    for number, _, head, body in answers:
        at = f"node {number}"
        if not head.startswith(b"HTTP/1.1 200 ") or b"content-type: application/json" not in head:
            raise Wrong(f"{at}: {head[:200]!r}")
        mesh = json.loads(body)
        check(mesh, said["application/json"]["schema"], document, at)
        if mesh["id"] != ids[number]:
            raise Wrong(f"{at} says that it is {mesh['id']}")
        peers = sorted(peer["id"] for peer in mesh["peers"])
        if peers != sorted(set(ids) - {mesh["id"]}):
            raise Wrong(f"{at}: its peers are not the other nodes, each once: {peers}")
        for peer in mesh["peers"]:
            linked = peer["state"] == "connected"
            if linked != (peer["transport"] is not None) or linked and "rtt_us" not in peer:
                raise Wrong(f"{at}: half a link: {peer}")


def main():
    per_second, seconds = int(sys.argv[1]), int(sys.argv[2])
    with open(sys.argv[3]) as file:
        document = json.load(file)
    nodes = [tuple(node.split(",")) for node in sys.argv[4:]]
    try:
        answers, late, took = ask_all(nodes, per_second, seconds)
        check_all(answers, nodes, document)
    except Wrong as wrong:
        sys.exit(f"wrong: {wrong}")
    times, late = sorted(t for _, t, _, _ in answers), sorted(late)
    quantile = lambda of, part: round(1000 * of[min(len(of) - 1, int(len(of) * part))], 3)
    size = sum(len(body) for *_, body in answers) / len(answers)
    figures = {
        "answers": len(answers),
        "per_second": round(len(answers) / took, 1),
        "bytes": round(size),
        "p50_ms": quantile(times, 0.5),
        "p99_ms": quantile(times, 0.99),
        "p999_ms": quantile(times, 0.999),
        "max_ms": quantile(times, 1),
        "asked_late_p99_ms": quantile(late, 0.99),
    }
    print(json.dumps(figures))


main()
