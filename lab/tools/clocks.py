"""How far apart the clocks of nodes are.

clocks.py T0 FROM TO NAME=PPM[:LEAP_AT:LEAP_BY]=FILE...: reads lines of `midip2p clock --json --watch`, one file a node,
whose clock runs fast by PPM from T0 on and leaps. FROM and TO are seconds after T0 by the true clock. Prints a line of
JSON: p50, p99, max of how far two locked clocks of one second are apart (us), how many, which part of the bounds held,
the greatest step back (us), the share of moments in which a node was locked, and the leaders seen, in order.
"""
import json
import sys


class Node:
    def __init__(self, word, t0):
        self.name, skew, path = word.split("=", 2)
        skew = skew.split(":")
        self.ppm = float(skew[0])
        self.leap = tuple(map(int, skew[1:])) if len(skew) > 1 else None
        self.lines = []
        for text in open(path):
            try:
                line = json.loads(text)
            except ValueError:
                continue  # the last line of a program that was stopped
            line["true_us"] = self.true_us(line["local_us"], t0)
            self.lines.append(line)

    def true_us(self, local, t0):
        at = t0 + (local - t0) / (1 + self.ppm / 1e6)
        if self.leap and at >= (self.leap[0] / 1000 + self.leap[1] / 1000):
            at -= self.leap[1] / 1000 / (1 + self.ppm / 1e6)
        return at


def shown(line, local):
    """The mesh's clock by a line, at another moment of the same node."""
    return line["mesh_us"] + (local - line["local_us"]) * (1 + line["drift_ppm"] / 1e6)


def main():
    t0, start, end = int(sys.argv[1]) / 1000, float(sys.argv[2]), float(sys.argv[3])
    nodes = [Node(word, t0) for word in sys.argv[4:]]
    by_id = {node.lines[0]["id"]: node for node in nodes if node.lines}
    seconds, honest, bounds, back, locked, all_, leaders = {}, 0, 0, 0.0, 0, 0, []
    for node in nodes:
        before = None
        for line in node.lines:
            if line["mesh_us"] is not None:
                if before and before[0] == line["timeline"]:
                    back = max(back, before[1] - line["mesh_us"])
                before = (line["timeline"], line["mesh_us"])
    for node in nodes:
        for line in node.lines:
            second = (line["true_us"] - t0) / 1e6
            if not start <= second < end:
                continue
            all_ += 1
            leader = line["leader"]
            if leader and leader["name"] not in leaders:
                leaders.append(leader["name"])
            if not line["locked"]:
                continue
            locked += 1
            # The leader's own clock is a straight line: its nearest one is right for this moment.
            of_leader = by_id.get(leader["id"])
            if not of_leader:
                continue
            near = min(of_leader.lines, key=lambda l: abs(l["true_us"] - line["true_us"]))
            if not near["locked"] or near["timeline"] != line["timeline"]:
                continue
            passed = (line["true_us"] - near["true_us"]) * (1 + of_leader.ppm / 1e6)
            error = line["mesh_us"] - shown(near, near["local_us"] + passed)
            seconds.setdefault((line["timeline"], int(second)), []).append(error)
            if of_leader is not node:
                bounds += 1
                honest += abs(error) <= line["bound_us"]
    apart = sorted(abs(a - b) for errors in seconds.values() for i, a in enumerate(errors) for b in errors[:i])
    quantile = lambda q: apart[min(len(apart) - 1, int(len(apart) * q))] if apart else None
    print(json.dumps({
        "p50": quantile(0.5), "p99": quantile(0.99), "max": quantile(1), "pairs": len(apart),
        "honest": honest / bounds if bounds else None, "back": back, "locked": locked / all_ if all_ else 0,
        "leaders": leaders,
    }))


main()
