"""The order within layers, and the places across: barycentre sweeps, then least squares with kept distances.

Source: Sugiyama, Tagawa and Toda 1981 (sweeps); Barth, Jünger and Mutzel 2002 (counting crossings with an accumulator tree);
pooling of adjacent violators (isotonic regression) for the places.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from arklex_runtime.picture.layers import Slot

Rows = list[list[Slot]]
Gap = Callable[[Slot, Slot], float]


def order_rows(rows: Rows, *, sweeps: int) -> None:
    """Reorders each row to reduce crossings; keeps the best of ``sweeps`` passes down and up. Deterministic."""
    _number(rows)
    best, fewest = [list(row) for row in rows], crossings(rows)
    for sweep in range(sweeps):
        if fewest == 0:
            break
        down = sweep % 2 == 0
        for row in rows[1:] if down else reversed(rows[:-1]):
            _sort_by_barycentre(row, down)
        count = crossings(rows)
        if count < fewest:
            best, fewest = [list(row) for row in rows], count
    for row, kept in zip(rows, best, strict=True):
        row[:] = kept
        _centre_trunks(row)
    _number(rows)


def _number(rows: Rows) -> None:
    for row in rows:
        for order, slot in enumerate(row):
            slot.order = order


def _sort_by_barycentre(row: list[Slot], down: bool) -> None:
    def key(slot: Slot) -> float:
        near = slot.before if down else slot.after
        return sum(other.order for other in near) / len(near) if near else float(slot.order)

    row.sort(key=key)
    for order, slot in enumerate(row):
        slot.order = order


def _centre_trunks(row: list[Slot]) -> None:
    """A trunk that passes through a folded level stands amid its own tasks there, not beside them."""
    for trunk in [slot for slot in row if len(slot.carries) > 3]:
        places = [place for place, slot in enumerate(row) if slot.node is not None and slot.node.name in trunk.carries]
        if len(places) > 3:
            row.remove(trunk)
            row.insert((places[0] + places[-1] + 1) // 2, trunk)


def crossings(rows: Rows) -> int:
    """How many pairs of edges between neighbouring rows cross."""
    return sum(_crossings_below(row, len(below)) for row, below in pairwise(rows))


def _crossings_below(row: list[Slot], width: int) -> int:
    tree = [0] * (width + 1)
    seen = total = 0
    for slot in row:
        ends = sorted(other.order for other in slot.after)
        for end in ends:
            index, at_most = end + 1, 0
            while index:
                at_most += tree[index]
                index &= index - 1
            total += seen - at_most
        for end in ends:
            index = end + 1
            while index <= width:
                tree[index] += 1
                index += index & -index
        seen += len(ends)
    return total


def place_rows(rows: Rows, gap: Gap, *, sweeps: int) -> None:
    """Sets every slot's ``at``: near its neighbours, in order, at least ``gap`` apart; long edges pull to be straight."""
    for row in rows:
        _pack(row, gap)
    for sweep in range(sweeps):
        last = sweep >= sweeps - 2
        for row in rows[1:] if sweep % 2 == 0 else reversed(rows[:-1]):
            _place(row, gap, above=sweep % 2 == 0 or last, below=sweep % 2 == 1 or last)
    left = min(slot.at - slot.size / 2 for row in rows for slot in row)
    for row in rows:
        for slot in row:
            slot.at -= left


def _pack(row: list[Slot], gap: Gap) -> None:
    at = 0.0
    for index, slot in enumerate(row):
        at += gap(row[index - 1], slot) if index else 0.0
        slot.at = at
    middle = at / 2
    for slot in row:
        slot.at -= middle


def _place(row: list[Slot], gap: Gap, *, above: bool, below: bool) -> None:
    offsets = [0.0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + gap(left, right))
    wishes = [_wish(slot, above, below) for slot in row]
    blocks: list[list[float]] = []
    for (place, weight), offset in zip(wishes, offsets, strict=True):
        blocks.append([(place - offset) * weight, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            tail = blocks.pop()
            blocks[-1] = [blocks[-1][0] + tail[0], blocks[-1][1] + tail[1], blocks[-1][2] + tail[2]]
    index = 0
    for total, weight, count in blocks:
        for _ in range(int(count)):
            row[index].at = total / weight + offsets[index]
            index += 1


def _wish(slot: Slot, above: bool, below: bool) -> tuple[float, float]:
    """Where a slot would like to be, and how strongly."""
    near = (slot.before if above else []) + (slot.after if below else [])
    if not near:
        return slot.at, 0.1
    weights = [_weight(slot, other) for other in near]
    total = sum(weights)
    return sum(other.at * weight for other, weight in zip(near, weights, strict=True)) / total, total


def _weight(slot: Slot, other: Slot) -> float:
    return (1.0, 3.0, 10.0)[(slot.node is None) + (other.node is None)]
