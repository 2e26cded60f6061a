#!/usr/bin/env python3
"""Kills a node with -9 at random moments while its routes are written, and holds that what it had answered is there.

    power.py TIMES SEED -- COMMAND...    COMMAND starts the node; it prints the line of `up --json`

After each start the routes are those of which the node had said that they are kept, and of the change that it was about to
make when it was killed either all or nothing. Prints how many changes were answered, and how many of those that were under
way were found done.
"""
import http.client, json, random, socket, subprocess, sys, threading

times, seed, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[4:]
chance = random.Random(seed)


class Own(http.client.HTTPConnection):
    """HTTP by the node's socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self.path)

    def ask(self, method, path, body=None):
        head = {"Content-Type": "application/json"} if body is not None else {}
        self.request(method, path, body and json.dumps(body), head)
        answer = self.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None


def kept(route):
    return {key: route[key] for key in ("from", "to", "enabled", "priority", "filter")}


def change(routes):
    """A change: method, path, body, and what the routes are after it, given the answer."""
    what = chance.random()
    if what < 0.5 and len(routes) < 100 or not routes:
        taken = {json.dumps(r["filter"], sort_keys=True) for r in routes.values()}
        while True:
            notes = sorted(chance.sample(range(128), 2))
            filter = {"notes": notes, "transpose": chance.randint(1, 100)}
            if json.dumps(filter, sort_keys=True) not in taken:
                break
        body = {"from": "Desk", "to": "Desk", "filter": filter, "priority": chance.randrange(256)}
        return "POST", "/routing/routes", body, None
    id = chance.choice(sorted(routes))
    if what < 0.8:
        body = {"priority": chance.randrange(256), "enabled": chance.random() < 0.5}
        return "PATCH", f"/routing/routes/{id}", body, id
    return "DELETE", f"/routing/routes/{id}", None, id


def after(routes, asked):
    """What the routes are when the change is done, if that is known without its answer."""
    method, _, body, id = asked
    done = dict(routes)
    if method == "DELETE":
        del done[id]
    elif method == "PATCH":
        done[id] = {**routes[id], **body}
    return done


routes, open_change, newest = {}, None, 0
answered = found_done = 0
for turn in range(times + 1):
    node = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    ready = json.loads(node.stdout.readline())
    own = Own(ready["socket"])
    status, listed = own.ask("GET", "/routing/routes")
    found = {route["id"]: kept(route) for route in listed["routes"]}
    if open_change and found != routes:
        method, _, body, id = open_change
        if method == "POST":
            new = set(found) - set(routes)
            assert len(new) == 1 and {k: found[min(new)][k] for k in ("filter", "priority")} == \
                {k: body[k] for k in ("filter", "priority")}, f"turn {turn}: {found} after {open_change} on {routes}"
            assert all(found[i] == r for i, r in routes.items())
        else:
            assert found == after(routes, open_change), f"turn {turn}: {found} after {open_change} on {routes}"
        found_done += 1
    else:
        assert found == routes, f"turn {turn}: {found}, and not {routes}"
    routes, open_change = found, None
    newest = max([newest, *routes])
    if turn == times:
        node.terminate()
        assert node.wait(10) == 0
        break
    killer = threading.Timer(chance.uniform(0, 0.12), node.kill)
    killer.start()
    try:
        while True:
            asked = change(routes)
            open_change = asked
            status, answer = own.ask(*asked[:3])
            assert status in (200, 201, 204), (status, answer)
            open_change = None
            answered += 1
            if asked[0] == "POST":
                assert answer["id"] > newest, f"{answer['id']} was given before"
                newest = answer["id"]
                routes[answer["id"]] = kept(answer)
            else:
                routes = after(routes, asked)
    except (OSError, http.client.HTTPException, json.JSONDecodeError):
        pass
    killer.join()
    node.wait(10)
print(json.dumps({"times": times, "answered": answered, "under_way_and_done": found_done, "routes": len(routes)}))
