"""Where everything of a diagram goes, in pixels: the model that SVG is drawn from, and that a web page may draw itself."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from arklex_runtime.picture.layers import Layers, Slot, build_layers
from arklex_runtime.picture.model import BandName, Diagram, Edge, Node
from arklex_runtime.picture.order import order_rows, place_rows
from arklex_runtime.picture.text import text_width

Direction = Literal["down", "right"]
Point = tuple[float, float]

NAME_SIZE, DETAIL_SIZE, BADGE_SIZE = 13.0, 11.0, 10.0
"""Sizes of the texts in a box, pixels."""
ICON_ROOM, PADDING = 42.0, 12.0
HEIGHT, BADGES_HEIGHT = 48.0, 22.0
NARROWEST, WIDEST = 132.0, 250.0
BETWEEN, BESIDE_TRUNK, TRUNKS = 26.0, 18.0, 12.0
MARGIN, BAND_PADDING, BAND_LABEL = 28.0, 20.0, 24.0


@dataclass(frozen=True, slots=True)
class Box:
    """A node's rectangle; (x, y) is its upper left corner."""

    node: Node
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Route:
    """An edge's way. Each pair of neighbouring points is joined by an S-curve whose ends run along the flow.

    Edges of one trunk share points. The curve between two points stays inside the rectangle they span.
    """

    edge: Edge
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """The frame around a group of boxes, today only that of the finally tasks."""

    name: BandName
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes, routes and bands of a diagram of the given size; nothing lies outside of it."""

    width: float
    height: float
    direction: Direction
    boxes: tuple[Box, ...]
    routes: tuple[Route, ...]
    bands: tuple[Band, ...]


def layout(diagram: Diagram, direction: Direction = "down") -> Layout:
    """Places ``diagram``; the same diagram always gives the same layout. Raises ValueError for a cycle."""
    width = _box_width(diagram)
    parts = [_Part(diagram, band, width, direction) for band in ("tasks", "finally")]
    parts = [part for part in parts if part.slots]
    across = max((part.across for part in parts), default=0.0)
    boxes: list[Box] = []
    routes: list[Route] = []
    bands: list[Band] = []
    along = MARGIN
    for part in parts:
        framed = part.band == "finally"
        along += BAND_LABEL + BAND_PADDING if framed else 0
        shift = MARGIN + BAND_PADDING + (across - part.across) / 2
        boxes += part.boxes(shift, along)
        routes += part.routes(shift, along)
        if framed:
            size = (part.across + 2 * BAND_PADDING, part.along + BAND_LABEL + BAND_PADDING)
            frame = (shift - BAND_PADDING, along - BAND_LABEL, *size)
            bands.append(_frame(part.band, frame, direction))
        along += part.along + (BAND_PADDING if framed else 0)
    whole = (across + 2 * (MARGIN + BAND_PADDING), along + MARGIN)
    total = whole if direction == "down" else whole[::-1]
    return Layout(*total, direction, tuple(boxes), tuple(routes), tuple(bands))


def _frame(band: BandName, frame: tuple[float, float, float, float], direction: Direction) -> Band:
    across, along, wide, deep = frame
    return Band(band, across, along, wide, deep) if direction == "down" else Band(band, along, across, deep, wide)


def _box_width(diagram: Diagram) -> float:
    room = NARROWEST
    for node in diagram.nodes:
        mark, time = (24.0, 62.0) if node.state is not None else (0.0, 0.0)
        texts = (text_width(node.name, NAME_SIZE, bold=True) + mark, text_width(node.detail, DETAIL_SIZE) + time)
        room = max(room, max(texts) + ICON_ROOM + PADDING, badges_width(node) + 2 * PADDING)
    return round(min(room, WIDEST))


def badge_width(label: str) -> float:
    """The width of a badge's pill, pixels."""
    return round(text_width(label, BADGE_SIZE) + 10, 1)


def badges_width(node: Node) -> float:
    """The width of all of a node's badges with the gaps between them, pixels."""
    return sum(badge_width(badge.label) + 4 for badge in node.badges)


class _Part:
    """The layout of one band, in (across, along) coordinates that start at zero."""

    def __init__(self, diagram: Diagram, band: BandName, box_width: float, direction: Direction) -> None:
        nodes = [node for node in diagram.nodes if node.band == band]
        names = {node.name for node in nodes}
        self.band = band
        self.direction: Direction = direction
        self.box_width = box_width
        self.layers: Layers = build_layers(nodes, [edge for edge in diagram.edges if {edge.source, edge.target} <= names])
        self.slots = [slot for row in self.layers.rows for slot in row]
        self.across = self.along = 0.0
        if self.slots:
            self._place()

    def _place(self) -> None:
        for slot in self.slots:
            slot.size = self._size(slot)[0]
        effort = max(2, min(24, 120_000 // len(self.slots)))
        order_rows(self.layers.rows, sweeps=effort // 2)
        place_rows(self.layers.rows, _gap, sweeps=effort)
        self.across = max(slot.at + slot.size / 2 for slot in self.slots)
        self.starts: list[float] = []
        self.depths = [max(self._size(slot)[1] for slot in row) for row in self.layers.rows]
        at = 0.0
        for row, depth in zip(self.layers.rows, self.depths, strict=True):
            self.starts.append(at)
            at += depth + _room_below(row)
        self.along = self.starts[-1] + self.depths[-1]
        self.ports = _ports(self.layers, self.box_width if self.direction == "down" else HEIGHT)

    def _size(self, slot: Slot) -> tuple[float, float]:
        if slot.node is None:
            return (0.0, 0.0)
        size = (self.box_width, HEIGHT + (BADGES_HEIGHT if slot.node.badges else 0))
        return size if self.direction == "down" else size[::-1]

    def _span(self, slot: Slot) -> tuple[float, float]:
        """Where a slot begins and ends along the flow: a box is centred in its layer, a trunk passes through all of it."""
        start, depth = self.starts[slot.layer], self.depths[slot.layer]
        if slot.node is None:
            return start, start + depth
        spare = (depth - self._size(slot)[1]) / 2
        return start + spare, start + depth - spare

    def boxes(self, across: float, along: float) -> list[Box]:
        """The boxes, moved by (across, along), in the diagram's own coordinates."""
        made = []
        for slot in self.slots:
            if slot.node is not None:
                wide, deep = self._size(slot)
                corner = self._point(slot.at - wide / 2 + across, self._span(slot)[0] + along)
                size = (wide, deep) if self.direction == "down" else (deep, wide)
                made.append(Box(slot.node, *corner, *size))
        return made

    def routes(self, across: float, along: float) -> list[Route]:
        """The routes, moved by (across, along), in the diagram's own coordinates."""
        made = []
        for edge, chain in self.layers.chains:
            points: list[Point] = []
            for index, slot in enumerate(chain):
                begin, end = self._span(slot)
                edge_of_layer = self.starts[slot.layer], self.starts[slot.layer] + self.depths[slot.layer]
                if index > 0:
                    at = slot.at + self.ports.get((id(chain[index - 1]), id(slot), "in"), 0.0)
                    points += [(at, edge_of_layer[0]), (at, begin)]
                if index < len(chain) - 1:
                    at = slot.at + self.ports.get((id(slot), id(chain[index + 1]), "out"), 0.0)
                    points += [(at, end), (at, edge_of_layer[1])]
            moved = [self._point(x + across, y + along) for x, y in points]
            made.append(Route(edge, tuple(dict.fromkeys(moved))))
        return made

    def _point(self, across: float, along: float) -> Point:
        across, along = round(across, 1), round(along, 1)
        return (across, along) if self.direction == "down" else (along, across)


def _gap(left: Slot, right: Slot) -> float:
    trunks = (left.node is None) + (right.node is None)
    return left.size / 2 + right.size / 2 + (BETWEEN, BESIDE_TRUNK, TRUNKS)[trunks]


def _room_below(row: list[Slot]) -> float:
    """More room where edges run far sideways, so that they do not lie flat on each other."""
    furthest = max((abs(slot.at - other.at) for slot in row for other in slot.after), default=0.0)
    edges = sum(len(slot.after) for slot in row)
    return round(min(44 + furthest * 0.035 + edges * 0.8, 130), 1)


def _ports(layers: Layers, width: float) -> dict[tuple[int, int, str], float]:
    """How far from a box's middle each edge leaves or enters it, so that neighbours can be told apart."""
    ports: dict[tuple[int, int, str], float] = defaultdict(float)
    for row in layers.rows:
        for slot in row:
            if slot.node is None:
                continue
            for side, others in (("out", slot.after), ("in", slot.before)):
                step = min(14.0, width * 0.6 / max(len(others) - 1, 1))
                for index, other in enumerate(sorted(others, key=lambda other: other.at)):
                    pair = (id(slot), id(other)) if side == "out" else (id(other), id(slot))
                    ports[*pair, side] = (index - (len(others) - 1) / 2) * step
    return ports
