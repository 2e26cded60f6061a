#!/usr/bin/env python3
"""How late notes were while a dump passed, and how late without (lab/tests/33-notes-beside-dumps.sh).

    beside.py OUT MEASUREMENT MOST_MS LINK

reads OUT/near-M.out and far-M.out (`monitor --json` at both ends), began-M, ended-M, dumps-M (when dumps were
given and played) and wire.out (wire.py). It prints p50, p99 and the most in ms, one way, and fails when the p99
beside a dump, or around it, is more than MOST_MS above that without.
"""

import sys

import delays
import jsonmidi
import wire

WITHOUT, BESIDE, AROUND = "without a dump", "while one passes", "just before and after"
# More than this without a dump, and the other rows say nothing of the dumps.
BASE_MOST_MS = 3.0


def passing(out, start, end):
    """When the bytes of a dump that was sent between these times came."""
    middle, _ = wire.passage(f"{out}/wire.out", start, end)
    first, last = middle[0][0], middle[-1][0]
    return first - (last - first) // 98, last + (last - first) // 98


def inside(at, spans):
    return any(start <= at <= end for start, end in spans)


def lines(out, name):
    with open(f"{out}/{name}", encoding="ascii") as text:
        return [tuple(map(int, line.split())) for line in text]


def main(out, measured, most, link):
    (began,), (ended,) = lines(out, f"began-{measured}")[0], lines(out, f"ended-{measured}")[0]
    near = [m for m in jsonmidi.messages(f"{out}/near-{measured}.out") if began <= m[0] <= ended]
    known = {data for _, data in near}
    far = [m for m in jsonmidi.messages(f"{out}/far-{measured}.out") if m[0] >= began and m[1] in known]
    report, took = delays.report(0.2, near, far)
    sent = lines(out, f"dumps-{measured}")
    passed = [passing(out, *span) for span in sent]
    rows = {WITHOUT: [], BESIDE: [], AROUND: []}
    for at, delay in took:
        rows[BESIDE if inside(at, passed) else AROUND if inside(at, sent) else WITHOUT].append(delay)
    print(f"{'link':16} {'notes':22} {'events':>6} {'p50':>7} {'p99':>7} {'max':>7}   ms, beyond the network's 0.2")
    p99 = {}
    for row, values in rows.items():
        values.sort()
        p50, p99[row], worst = (delays.quantile(values, share) for share in (0.5, 0.99, 1))
        print(f"{link:16} {row:22} {len(values):6} {p50:7} {p99[row]:7} {worst:7}")
    print(f"{link:16} {len(passed)} dumps passed in {sum(end - start for start, end in passed) / 1e6:.2f} s together")
    bad = []
    if p99[WITHOUT] > BASE_MOST_MS:
        bad.append(f"p99 without a dump is {p99[WITHOUT]} ms: the machine is too busy, or a dump has effects afterwards")
    for row in (BESIDE, AROUND):
        more = p99[row] - p99[WITHOUT]
        if more > most:
            bad.append(f"p99 {row} is {more:.2f} ms greater than without; {most} may be")
    if report["missing"] or report["extra"]:
        bad.append(f"{report['missing']} events were not played, {report['extra']} twice")
    for line in bad:
        print(f"! {link}: {line}")
    return bool(bad)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]))
