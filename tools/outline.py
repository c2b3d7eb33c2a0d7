#!/usr/bin/env python
"""Make `pymemri/widgets/static/world.json`, the outline of the map, from `countries-110m.json` of the npm package world-atlas:

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python tools/outline.py package/countries-110m.json

Coordinates are tenths of a degree, longitude then latitude, south and west negative; each ring or line is a flat list.
"""
import json, sys
from collections import Counter
from pathlib import Path

SOURCE = 'Natural Earth 1:110m, public domain (naturalearthdata.com), by way of world-atlas 2.0.2 (npm, ISC licence, Michael Bostock)'
root = Path(__file__).resolve().parents[1]


def arcs(topology):
    "The arcs as lists of `(longitude, latitude)` in tenths of a degree, each point once"
    (sx, sy), (tx, ty) = topology['transform']['scale'], topology['transform']['translate']
    for arc in topology['arcs']:
        x = y = 0
        line = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            at = round((x * sx + tx) * 10), round((y * sy + ty) * 10)
            if not line or line[-1] != at: line.append(at)
        yield line


def rings(geometry):
    "The rings of a geometry, each a list of numbers of arcs"
    for g in geometry.get('geometries', [geometry]):
        if g['type'] == 'Polygon': yield from g['arcs']
        if g['type'] == 'MultiPolygon': yield from (r for p in g['arcs'] for r in p)


def joined(ring, lines):
    "One ring of points"
    points = []
    for n in ring:
        line = lines[n] if n >= 0 else lines[~n][::-1]
        points += line[bool(points):]
    return points


def unwrapped(line):
    "The line without jumps from one edge of the map to the other: longitudes may go beyond 180 degrees"
    points, turn = [], 0
    for x, y in line:
        if points: turn += 3600 * (round((points[-1][0] - x - turn) / 3600))
        points.append((x + turn, y))
    return points


def cut(ring, edge, keep):
    "The part of a ring whose longitudes `keep` accepts; where it crosses `edge`, there are new points"
    points = []
    for a, b in zip(ring, ring[1:] + ring[:1]):
        if keep(a[0]): points.append(a)
        if keep(a[0]) != keep(b[0]): points.append((edge, round(a[1] + (b[1] - a[1]) * (edge - a[0]) / (b[0] - a[0]))))
    return points


def on_map(ring):
    "A ring of the globe as rings between 180 degrees west and east; one around a pole takes the pole in"
    ring = unwrapped(ring)
    if abs(ring[-1][0] - ring[0][0]) > 1800:
        pole = 900 if ring[0][1] > 0 else -900
        ring += [(ring[-1][0], pole), (ring[0][0], pole)]
    for turn in (-3600, 0, 3600):
        part = cut([(x + turn, y) for x, y in ring], 1800, lambda x: x <= 1800)
        part = cut(part, -1800, lambda x: x >= -1800)
        if len({x for x, _ in part}) > 1: yield part


def main(path):
    topology = json.loads(Path(path).read_text())
    lines = list(arcs(topology))
    land = [part for r in rings(topology['objects']['land']) for part in on_map(joined(r, lines))]
    used = Counter(n if n >= 0 else ~n for r in rings(topology['objects']['countries']) for n in r)
    borders = [lines[n] for n, times in sorted(used.items()) if times > 1 and len(lines[n]) > 1
               and max(abs(a[0] - b[0]) for a, b in zip(lines[n], lines[n][1:])) < 1800]
    def flat(some): return [[v for at in line for v in at] for line in some]
    made = dict(source=SOURCE, land=flat(r for r in land if len(r) > 3), borders=flat(borders))
    (root / 'pymemri/widgets/static/world.json').write_text(json.dumps(made, separators=(',', ':')) + '\n')
    print(len(made['land']), 'rings,', len(made['borders']), 'borders')


if __name__ == '__main__': main(sys.argv[1])
