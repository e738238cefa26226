"""The picture: coordinates that hold together for any graph, and documents that any viewer can read."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise

import pytest

from arklex_runtime.picture.layout import Box, Direction, Layout, Point, layout
from arklex_runtime.picture.mermaid import render_mermaid
from arklex_runtime.picture.model import Badge, Diagram, Edge, Node, NodeKind, NodeState
from arklex_runtime.picture.svg import render_svg
from arklex_runtime.picture.text import human_seconds, shorten, text_width

SVG = "{http://www.w3.org/2000/svg}"
KINDS: tuple[NodeKind, ...] = ("worker", "llm", "custom", "rag", "database", "browser", "tool", "graph", "approval", "value")


def random_diagram(count: int, seed: int) -> Diagram:
    chosen = random.Random(seed)
    edges = []
    level = {"t0": 0}
    for index in range(1, count):
        name = f"t{index}"
        sources = sorted(chosen.sample(range(max(0, index - 20), index), min(index, chosen.choice([0, 1, 1, 2, 3]))))
        edges += [Edge(f"t{source}", name, chosen.choice(["data", "order"])) for source in sources]
        level[name] = max((level[f"t{source}"] + 1 for source in sources), default=0)
    badges = (Badge("retry", "↻ 3"), Badge("when", "when"))
    nodes = [Node(name, chosen.choice(KINDS), at, "docs · search", badges[: chosen.randrange(3)]) for name, at in level.items()]
    finals = [Node("audit", "value", band="finally"), Node("mail", "tool", 1, band="finally")]
    return Diagram(f"random {count}", (*nodes, *finals), (*edges, Edge("audit", "mail")))


def fan(count: int) -> Diagram:
    middle = [f"w{index}" for index in range(count)]
    nodes = [Node("split", "value"), *(Node(name, "custom", 1) for name in middle), Node("join", "llm", 2)]
    return Diagram("fan", tuple(nodes), tuple(edge for name in middle for edge in (Edge("split", name), Edge(name, "join"))))


def chain(count: int) -> Diagram:
    names = [f"s{index}" for index in range(count)]
    nodes = tuple(Node(name, "custom", index) for index, name in enumerate(names))
    return Diagram("chain", nodes, tuple(Edge(a, b) for a, b in pairwise(names)))


DIAGRAMS = [random_diagram(5, 1), random_diagram(30, 2), random_diagram(200, 3), fan(200), fan(7), chain(40), chain(1)]


@pytest.fixture(params=DIAGRAMS, ids=lambda diagram: f"{diagram.title}-{len(diagram.nodes)}")
def diagram(request: pytest.FixtureRequest) -> Diagram:
    found: Diagram = request.param
    return found


@pytest.fixture(params=["down", "right"])
def direction(request: pytest.FixtureRequest) -> Direction:
    found: Direction = request.param
    return found


def overlap(one: Box, other: Box) -> bool:
    apart_across = one.x + one.width <= other.x or other.x + other.width <= one.x
    return not (apart_across or one.y + one.height <= other.y or other.y + other.height <= one.y)


def samples(start: Point, end: Point, direction: Direction) -> list[Point]:
    """Points of the S-curve between two points, as the SVG draws it."""
    found = []
    for step in range(1, 12):
        t = step / 12
        near, far = 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2
        ease = t**3 + far
        flat = t**3 + (near + far) / 2
        across, along = (ease, flat) if direction == "down" else (flat, ease)
        found.append((start[0] + (end[0] - start[0]) * across, start[1] + (end[1] - start[1]) * along))
    return found


def inside(point: Point, box: Box) -> bool:
    return box.x + 0.2 < point[0] < box.x + box.width - 0.2 and box.y + 0.2 < point[1] < box.y + box.height - 0.2


def test_no_boxes_overlap_and_all_lie_on_the_page(diagram: Diagram, direction: Direction) -> None:
    plan = layout(diagram, direction)
    assert sorted(box.node.name for box in plan.boxes) == sorted(node.name for node in diagram.nodes)
    assert not [(a.node.name, b.node.name) for a, b in combinations(plan.boxes, 2) if overlap(a, b)]
    for box in plan.boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= plan.width
        assert box.y + box.height <= plan.height


def test_edges_join_their_boxes_and_cross_no_others(diagram: Diagram, direction: Direction) -> None:
    plan = layout(diagram, direction)
    assert len(plan.routes) == len(diagram.edges)
    boxes = {box.node.name: box for box in plan.boxes}
    for route in plan.routes:
        source, target = boxes[route.edge.source], boxes[route.edge.target]
        assert_on_side(route.points[0], source, direction, far=True)
        assert_on_side(route.points[-1], target, direction, far=False)
        for start, end in pairwise(route.points):
            assert_clear([start, *samples(start, end, direction), end], plan)


def assert_on_side(point: Point, box: Box, direction: Direction, *, far: bool) -> None:
    if direction == "down":
        assert point[1] == pytest.approx(box.y + (box.height if far else 0), abs=0.2)
        assert box.x <= point[0] <= box.x + box.width
    else:
        assert point[0] == pytest.approx(box.x + (box.width if far else 0), abs=0.2)
        assert box.y <= point[1] <= box.y + box.height


def assert_clear(points: list[Point], plan: Layout) -> None:
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    low_y, high_y = min(y for _, y in points), max(y for _, y in points)
    for box in plan.boxes:
        if box.x < high_x and low_x < box.x + box.width and box.y < high_y and low_y < box.y + box.height:
            assert not [point for point in points if inside(point, box)], box.node.name


def test_the_same_diagram_gives_the_same_documents(diagram: Diagram) -> None:
    assert render_svg(diagram) == render_svg(diagram)
    assert render_mermaid(diagram) == render_mermaid(diagram)


def test_every_task_and_edge_is_in_the_documents(diagram: Diagram) -> None:
    root = ET.fromstring(render_svg(diagram))
    groups = [group for group in root.iter(f"{SVG}g") if group.get("class", "").startswith("node ")]
    drawn = [group.findtext(f"{SVG}title", "").splitlines()[0] for group in groups]
    assert sorted(drawn) == sorted(node.name for node in diagram.nodes)
    tips = [path for path in root.iter(f"{SVG}path") if path.get("marker-end") and path.get("d") != "M0 0H34"]
    assert bool(tips) == bool(diagram.edges)
    text = render_mermaid(diagram)
    assert len(re.findall(r"^  n\d+ -\.?->? n\d+$|^  n\d+ -->? n\d+$", text, re.M)) == len(diagram.edges)


def test_finally_tasks_stand_in_a_band_of_their_own_below_the_rest() -> None:
    plan = layout(DIAGRAMS[1])
    (band,) = plan.bands
    for box in plan.boxes:
        within = band.y <= box.y and box.y + box.height <= band.y + band.height
        assert within == (box.node.band == "finally")


def test_a_wide_level_is_folded_and_a_trunk_is_drawn_once() -> None:
    plan = layout(fan(200))
    assert plan.width < 4000
    assert plan.height < 4000
    assert len(render_svg(fan(1000))) < 1000 * 900


def test_hostile_names_and_texts_are_escaped() -> None:
    evil = "</title><script>alert('1')</script>&\x00\ud800\"]\n%%{init}"
    state = NodeState("Failed", 2, 0.25, message=evil)
    node = Node(evil, "llm", detail=evil, badges=(Badge("when", "<when>", evil),), state=state)
    svg = render_svg(Diagram(evil, (node,), subtitle=evil))
    root = ET.fromstring(svg.encode())
    assert not list(root.iter(f"{SVG}script"))
    assert "alert('1')" in root.findtext(f"{SVG}title", "")
    mermaid = render_mermaid(Diagram(evil, (node,)))
    assert "<script" not in mermaid.split("flowchart TD")[1]
    assert "%%" not in mermaid.split("flowchart TD")[1]


def test_a_run_shows_phase_duration_and_what_stands_out() -> None:
    state = NodeState("Retrying", 3, 83.4)
    diagram = Diagram("g", (Node("a", "custom", state=state), Node("b", "value", state=NodeState("Skipped"))), phase="Running")
    svg = render_svg(diagram)
    for text in ("p-Retrying", "1 m 23 s", "Retrying, 3 attempts", "faded", "p-Running"):
        assert text in svg


def test_a_cycle_is_an_error_and_an_empty_diagram_is_not() -> None:
    with pytest.raises(ValueError, match="cycle through a"):
        layout(Diagram("g", (Node("a", "value"), Node("b", "value")), (Edge("a", "b"), Edge("b", "a"))))
    ET.fromstring(render_svg(Diagram("empty", ())))


def test_dark_colours_follow_the_viewer() -> None:
    svg = render_svg(chain(2))
    assert "@media (prefers-color-scheme:dark)" in svg
    assert "#0d1117" in svg


def test_long_names_keep_their_ends() -> None:
    text = shorten("a-very-long-name-of-a-task-that-ends-in-42", 120, 13)
    assert text_width(text, 13) <= 120
    assert text.startswith("a-very")
    assert text.endswith("42")
    assert "…" in text
    assert shorten("short", 120, 13) == "short"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0121, "12 ms"), (0.9999, "1.0 s"), (3.44, "3.4 s"), (59.96, "1 m 00 s"), (125, "2 m 05 s"), (3720, "1 h 02 m")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text
