"""A workflow's graph laid out on the server, from the signal to the outcome.

Across a wide screen nodes stand in the layer behind all that they need, and an edge over several
layers goes through a place of its own in each of them, so that it runs round what stands there.
Down a narrow one there is a node in each line, and edges over several lines run beside them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshline.console.painting import Node, Painting

__all__ = ["Box", "Drawing", "Edge", "drawn", "drawn_down"]

BOX_WIDTH, BOX_HEIGHT = 164, 54
GAP_ALONG, GAP_ACROSS = 40, 20
LANE_HEIGHT = 20
MARGIN = 8
DOWN_WIDTH = 342
"""What a screen of 390 pixels has beside its margins, and some less."""
DOWN_GAP = 18
TRACK_WIDTH = 14
TRACKS_MAX = 9
BEND = 6
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
    width: float = BOX_WIDTH


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


def drawn(spec: Mapping[str, Any], painting: Painting | None) -> Drawing:
    """Return the drawing of a definition, with a run painted on it.

    Args:
        spec: as it is registered (see ``meshline.workflow.data``).
        painting: None: only the definition.
    """
    graph = _graph(spec, painting)
    layers, chains = _layers(graph)
    _order(layers, chains)
    places = _places(layers)
    drawing = _placed(graph, places)
    for (source, target, optional), chain in zip(graph.edges, chains, strict=True):
        start = graph.boxes[source]
        points = [(start.x + BOX_WIDTH, start.y + BOX_HEIGHT / 2)]
        for lane in chain[1:-1]:
            along, across = places[lane]
            points += [(along, across), (along + BOX_WIDTH, across)]
        points.append((graph.boxes[target].x, graph.boxes[target].y + BOX_HEIGHT / 2))
        drawing.edges.append(Edge(_curve(points), _is_taken(graph, source, target), optional))
    return drawing


def drawn_down(spec: Mapping[str, Any], painting: Painting | None) -> Drawing:
    """Return the same from top to bottom, as narrow as a phone: a node in each line."""
    graph = _graph(spec, painting)
    layers, _ = _layers(graph)
    lines = {
        name: n for n, name in enumerate(n for layer in layers for n in layer if n in graph.boxes)
    }
    tracks = _tracks(graph, lines)
    count = max(tracks.values(), default=-1) + 1
    left = MARGIN + count * TRACK_WIDTH
    for name, box in graph.boxes.items():
        box.x, box.y = left, MARGIN + lines[name] * (BOX_HEIGHT + DOWN_GAP)
        box.width = DOWN_WIDTH - MARGIN - left
    edges = []
    for source, target, optional in graph.edges:
        from_y, to_y = graph.boxes[source].y, graph.boxes[target].y
        if lines[target] == lines[source] + 1:
            path = f"M{left + 24:g} {from_y + BOX_HEIGHT:g}V{to_y:g}"
        else:
            x = left - (tracks[source] + 1) * TRACK_WIDTH + BEND
            # It leaves below the middle and enters above it: what ends here meets no new one.
            path = _bent(left, x, from_y + BOX_HEIGHT * 0.65, to_y + BOX_HEIGHT * 0.35)
        edges.append(Edge(path, _is_taken(graph, source, target), optional))
    # The way that was gone lies above the others: edges from the same node share their track.
    edges.sort(key=lambda edge: edge.is_taken)
    height = 2 * MARGIN + len(lines) * (BOX_HEIGHT + DOWN_GAP) - DOWN_GAP
    return Drawing(DOWN_WIDTH, height, list(graph.boxes.values()), edges)


def _is_taken(graph: _Graph, source: str, target: str) -> bool:
    if graph.boxes[source].state not in ("succeeded", "denied"):
        return False
    return graph.boxes[target].state not in ("", "not_reached", "skipped")


def _tracks(graph: _Graph, lines: Mapping[str, int]) -> dict[str, int]:
    """Return for each node with an edge over several lines its track, 0 beside the boxes."""
    last: dict[str, int] = {}
    for source, target, _ in graph.edges:
        if lines[target] > lines[source] + 1:
            last[source] = max(last.get(source, 0), lines[target])
    tracks: dict[str, int] = {}
    free_from: list[int] = []
    for source in sorted(last, key=lambda name: lines[name]):
        free = (n for n, line in enumerate(free_from) if line <= lines[source])
        track = min(next(free, len(free_from)), TRACKS_MAX - 1)
        free_from[track : track + 1] = [last[source]]
        tracks[source] = track
    return tracks


def _bent(left: float, x: float, from_y: float, to_y: float) -> str:
    return (
        f"M{left:g} {from_y:g}H{x + BEND:g}Q{x:g} {from_y:g} {x:g} {from_y + BEND:g}"
        f"V{to_y - BEND:g}Q{x:g} {to_y:g} {x + BEND:g} {to_y:g}H{left:g}"
    )


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


def _size(name: str) -> float:
    is_lane = name.startswith("\0") and name not in (SIGNAL, OUTCOME)
    return LANE_HEIGHT if is_lane else BOX_HEIGHT


def _places(layers: list[list[str]]) -> dict[str, tuple[float, float]]:
    """Return where each stands: its start along the graph, its middle across it."""
    breadth = [sum(map(_size, layer)) + GAP_ACROSS * (len(layer) - 1) for layer in layers]
    widest = max(breadth)
    places: dict[str, tuple[float, float]] = {}
    for number, layer in enumerate(layers):
        across = MARGIN + (widest - breadth[number]) / 2
        for name in layer:
            size = _size(name)
            places[name] = (MARGIN + number * (BOX_WIDTH + GAP_ALONG), across + size / 2)
            across += size + GAP_ACROSS
    return places


def _placed(graph: _Graph, places: dict[str, tuple[float, float]]) -> Drawing:
    for name, box in graph.boxes.items():
        along, across = places[name]
        box.x, box.y = along, across - BOX_HEIGHT / 2
    width = max(along for along, _ in places.values()) + BOX_WIDTH
    height = max(across + _size(name) / 2 for name, (_, across) in places.items())
    return Drawing(width + MARGIN, height + MARGIN, list(graph.boxes.values()))


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """Return an SVG path that leaves and enters each point along the graph."""
    path = [f"M{points[0][0]:g} {points[0][1]:g}"]
    for (x, y), (to_x, to_y) in itertools.pairwise(points):
        half = (to_x - x) / 2
        path.append(f"C{x + half:g} {y:g} {to_x - half:g} {to_y:g} {to_x:g} {to_y:g}")
    return "".join(path)
