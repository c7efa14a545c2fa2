"""A workflow's graph laid out on the server: from the signal to the outcome, layer by layer.

Nodes stand in the layer behind all that they need. An edge over several layers goes through a place
of its own in each of them, so that it runs round what stands there.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshline.console.painting import Node, Painting

__all__ = ["Box", "Drawing", "Edge", "drawn"]

BOX_WIDTH, BOX_HEIGHT = 164, 54
GAP_ALONG, GAP_ACROSS = 40, 20
LANE_HEIGHT = 20
MARGIN = 8
SIGNAL, OUTCOME = "\0signal", "\0outcome"


@dataclass
class Box:
    """A node as it is drawn; ``kind`` of the first is ``signal``, of the last ``outcome``."""

    name: str
    kind: str
    about: str
    state: str = ""
    note: str = ""
    x: float = 0
    y: float = 0


@dataclass
class Edge:
    """A line from one box to another; ``is_taken``: the run has gone this way."""

    path: str
    is_taken: bool
    is_optional: bool


@dataclass
class Drawing:
    """The boxes and lines, and how large it is."""

    width: float = 0
    height: float = 0
    boxes: list[Box] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)


@dataclass
class _Graph:
    boxes: dict[str, Box]
    edges: list[tuple[str, str, bool]]


def drawn(spec: Mapping[str, Any], painting: Painting | None, *, down: bool = False) -> Drawing:
    """Return the drawing of a definition, with a run painted on it.

    Args:
        spec: as it is registered (see ``meshline.workflow.data``).
        painting: None: only the definition.
        down: from top to bottom, for narrow screens.
    """
    graph = _graph(spec, painting)
    layers, chains = _layers(graph)
    _order(layers, chains)
    places = _places(layers, down)
    drawing = _placed(graph, places, down)
    for (source, target, optional), chain in zip(graph.edges, chains, strict=True):
        is_taken = painting is not None and _has_passed(graph.boxes[source])
        is_taken = is_taken and graph.boxes[target].state not in ("", "not_reached", "skipped")
        points = [_port(graph.boxes[source], down, out=True)]
        for lane in chain[1:-1]:
            along, across = places[lane]
            length = BOX_HEIGHT if down else BOX_WIDTH
            ends = ((along, across), (along + length, across))
            points += [(a, b) if not down else (b, a) for a, b in ends]
        points.append(_port(graph.boxes[target], down, out=False))
        drawing.edges.append(Edge(_curve(points, down), is_taken, optional))
    return drawing


def _graph(spec: Mapping[str, Any], painting: Painting | None) -> _Graph:
    boxes: dict[str, Box] = {}
    trigger = spec.get("trigger") or {}
    boxes[SIGNAL] = Box(str(trigger.get("type", "")), "signal", f"from {spec.get('source', '')}")
    names = [str(node["name"]) for node in spec.get("nodes", ())]
    edges: list[tuple[str, str, bool]] = []
    needed: set[str] = set()
    for node in spec.get("nodes", ()):
        name = str(node["name"])
        at = painting.nodes.get(name) if painting is not None else None
        boxes[name] = Box(name, str(node["kind"]), _about(node), *_said(at, painting))
        wanted = [str(other) for other in node.get("wants", ()) if other in names]
        needs = [str(other) for other in node.get("needs", ()) if other in names]
        edges += [(other, name, other in wanted) for other in dict.fromkeys([*needs, *wanted])]
        needed.update(needs, wanted)
        if not needs and not wanted:
            edges.append((SIGNAL, name, False))
    boxes[OUTCOME] = Box(str(spec.get("expected_outcome", "")), "outcome", "expected outcome")
    last = spec.get("outcome_node")
    ends = [last] if last in names else []
    ends += [name for name in names if name not in needed and name not in ends]
    edges += [(str(name), OUTCOME, name != last) for name in ends] or [(SIGNAL, OUTCOME, False)]
    if painting is not None:
        boxes[SIGNAL].state = "succeeded"
        boxes[OUTCOME].state = "succeeded" if painting.has_outcome else ""
    return _Graph(boxes, edges)


def _about(node: Mapping[str, Any]) -> str:
    each = node.get("each")
    match node["kind"]:
        case "approval" | "task":
            return f"{node['kind']} by {node['by']}"
        case "assign":
            return "owner rule"
        case "step" if each:
            return f"step for each of {each['of']}"
        case "step" if node.get("outside"):
            return "step, done outside"
        case kind:
            return {"sleep": "wait for a time", "message": "wait for a message"}.get(
                str(kind), str(kind)
            )


def _said(at: Node | None, painting: Painting | None) -> tuple[str, str]:
    if painting is None:
        return "", ""
    if at is None:
        return "not_reached", ""
    words = at.state.replace("_", " ")
    if at.items is not None:
        words += f", {at.items_done} of {at.items}"
    elif at.tries > 1:
        words += f", {at.tries} tries"
    return at.state, words


def _has_passed(box: Box) -> bool:
    return box.state in ("succeeded", "denied")


# -- layers ------------------------------------------------------------------------------------


def _layers(graph: _Graph) -> tuple[list[list[str]], list[list[str]]]:
    """Return the names in each layer, and for each edge the names that it goes through."""
    depth: dict[str, int] = {}
    before: dict[str, list[str]] = {name: [] for name in graph.boxes}
    for source, target, _ in graph.edges:
        before[target].append(source)
    # Definitions have no cycles, and each node stands behind what it needs.
    for name in graph.boxes:
        depth[name] = 1 + max((depth.get(other, 0) for other in before[name]), default=-1)
    layers: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in graph.boxes:
        layers[depth[name]].append(name)
    chains: list[list[str]] = []
    for number, (source, target, _) in enumerate(graph.edges):
        lanes = [f"\0{number}:{d}" for d in range(depth[source] + 1, depth[target])]
        for distance, lane in enumerate(lanes, depth[source] + 1):
            layers[distance].append(lane)
        chains.append([source, *lanes, target])
    return layers, chains


def _order(layers: list[list[str]], chains: Sequence[Sequence[str]]) -> None:
    """Put what hangs together side by side: each at the middle of what stands before it."""
    before: dict[str, list[str]] = {}
    for chain in chains:
        for one, next_ in itertools.pairwise(chain):
            before.setdefault(next_, []).append(one)
    place: dict[str, float] = {}
    for layer in layers:
        middles = {
            name: sum(found) / len(found)
            for name in layer
            if (found := [place[other] for other in before.get(name, ()) if other in place])
        }
        layer.sort(key=lambda name: middles.get(name, 0.0))
        span = len(layer) - 1
        place.update({name: index - span / 2 for index, name in enumerate(layer)})


def _size(name: str, down: bool) -> float:
    if name.startswith("\0") and name not in (SIGNAL, OUTCOME):
        return LANE_HEIGHT
    return BOX_WIDTH if down else BOX_HEIGHT


def _places(layers: list[list[str]], down: bool) -> dict[str, tuple[float, float]]:
    """Return where each stands: its start along the graph, its middle across it."""
    breadth = [
        sum(_size(name, down) for name in layer) + GAP_ACROSS * (len(layer) - 1) for layer in layers
    ]
    widest, length = max(breadth), BOX_HEIGHT if down else BOX_WIDTH
    places: dict[str, tuple[float, float]] = {}
    for number, layer in enumerate(layers):
        along = MARGIN + number * (length + (GAP_ALONG - 8 if down else GAP_ALONG))
        across = MARGIN + (widest - breadth[number]) / 2
        for name in layer:
            size = _size(name, down)
            places[name] = (along, across + size / 2)
            across += size + GAP_ACROSS
    return places


def _placed(graph: _Graph, places: dict[str, tuple[float, float]], down: bool) -> Drawing:
    for name, box in graph.boxes.items():
        along, across = places[name]
        if down:
            box.x, box.y = across - BOX_WIDTH / 2, along
        else:
            box.x, box.y = along, across - BOX_HEIGHT / 2
    length = max(along for along, _ in places.values()) + (BOX_HEIGHT if down else BOX_WIDTH)
    breadth = max(across + _size(name, down) / 2 for name, (_, across) in places.items())
    width, height = (breadth, length) if down else (length, breadth)
    return Drawing(width + MARGIN, height + MARGIN, list(graph.boxes.values()))


def _port(box: Box, down: bool, *, out: bool) -> tuple[float, float]:
    if down:
        return box.x + BOX_WIDTH / 2, box.y + (BOX_HEIGHT if out else 0)
    return box.x + (BOX_WIDTH if out else 0), box.y + BOX_HEIGHT / 2


def _curve(points: Sequence[tuple[float, float]], down: bool) -> str:
    """Return an SVG path that leaves and enters each point along the graph."""
    path = [f"M{points[0][0]:g} {points[0][1]:g}"]
    for (x, y), (to_x, to_y) in itertools.pairwise(points):
        if down:
            half = (to_y - y) / 2
            path.append(f"C{x:g} {y + half:g} {to_x:g} {to_y - half:g} {to_x:g} {to_y:g}")
        else:
            half = (to_x - x) / 2
            path.append(f"C{x + half:g} {y:g} {to_x - half:g} {to_y:g} {to_x:g} {to_y:g}")
    return "".join(path)
