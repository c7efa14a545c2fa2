"""Graphs: nothing overlaps, and every line goes on from where it came."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshline.console.drawing import (
    BOX_HEIGHT,
    BOX_WIDTH,
    DOWN_WIDTH,
    Box,
    Drawing,
    drawn,
    drawn_down,
)
from meshline.console.painting import Node, Painting


def node(name: str, *needs: str, kind: str = "step", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, "needs": list(needs), "wants": []} | more


def spec(*nodes: dict[str, Any], outcome: str | None = None) -> dict[str, Any]:
    return {
        "trigger": {"type": "FormSubmitted"},
        "source": "web.forms",
        "expected_outcome": "LeadCreated",
        "outcome_node": outcome,
        "nodes": list(nodes),
    }


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(0, 12))
    nodes = []
    for number in range(count):
        before = [f"n{other}" for other in range(number)]
        needs = draw(st.lists(st.sampled_from(before), max_size=3, unique=True)) if before else []
        nodes.append(node(f"n{number}", *needs))
    return spec(*nodes, outcome=f"n{count - 1}" if count else None)


def overlap(one: Box, other: Box) -> bool:
    return abs(one.x - other.x) < one.width and abs(one.y - other.y) < BOX_HEIGHT


@pytest.mark.parametrize("draw", [drawn, drawn_down])
@given(graph=graphs())
def test_no_two_boxes_overlap_and_all_are_inside(
    draw: Callable[[dict[str, Any], None], Drawing], graph: dict[str, Any]
) -> None:
    drawing = draw(graph, None)

    assert len(drawing.boxes) == len(graph["nodes"]) + 2
    assert not any(overlap(*pair) for pair in itertools.combinations(drawing.boxes, 2))
    for box in drawing.boxes:
        assert 0 <= box.x <= drawing.width - box.width
        assert 0 <= box.y <= drawing.height - BOX_HEIGHT


@given(graphs())
def test_what_needs_stands_behind_what_it_needs(graph: dict[str, Any]) -> None:
    at = {box.name: box.x for box in drawn(graph, None).boxes}

    for each in graph["nodes"]:
        assert all(at[each["name"]] > at[needed] for needed in each["needs"])


@given(graphs())
def test_down_a_phone_it_is_never_wider_and_every_line_says_enough(graph: dict[str, Any]) -> None:
    drawing = drawn_down(graph, None)

    at = {box.name: box.y for box in drawing.boxes}
    for each in graph["nodes"]:
        assert all(at[each["name"]] > at[needed] for needed in each["needs"])
    assert drawing.width == DOWN_WIDTH
    assert min(box.width for box in drawing.boxes) >= BOX_WIDTH
    # What runs beside the boxes stays beside them, and on the drawing.
    for edge in drawing.edges:
        across = [float(x) for x in re.findall(r"H([\d.]+)", edge.path)]
        assert all(0 < x <= drawing.boxes[0].x for x in across)
    assert len(drawing.edges) == len(drawn(graph, None).edges)


def test_down_a_phone_lines_that_run_side_by_side_have_tracks_of_their_own() -> None:
    crossing = spec(node("a"), node("b"), node("c", "a"), node("d", "b"), outcome="d")

    paths = {edge.path for edge in drawn_down(crossing, None).edges}

    beside = {match[1] for path in paths if (match := re.search(r"H([\d.]+)Q", path))}
    assert len(paths) == len(drawn(crossing, None).edges)
    assert len(beside) > 1


def test_it_goes_from_the_signal_to_the_outcome() -> None:
    drawing = drawn(spec(node("enrich"), node("file", "enrich"), outcome="file"), None)

    assert [box.kind for box in drawing.boxes] == ["signal", "step", "step", "outcome"]
    assert [box.name for box in drawing.boxes][::3] == ["FormSubmitted", "LeadCreated"]
    assert len(drawing.edges) == 3


def test_the_way_that_the_run_has_gone_is_marked() -> None:
    painting = Painting({"enrich": Node("succeeded", tries=3), "file": Node("held", tries=1)})

    drawing = drawn(spec(node("enrich"), node("file", "enrich"), outcome="file"), painting)

    assert [edge.is_taken for edge in drawing.edges] == [True, True, False]
    assert drawing.boxes[-1].state == ""
    assert [box.note for box in drawing.boxes[1:3]] == ["succeeded, 3 tries", "held"]


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (node("a", kind="approval", by="role:lead"), "approval by role:lead"),
        (node("a", kind="assign"), "owner rule"),
        (node("a", kind="sleep"), "wait for a time"),
        (node("a", each={"of": "lines"}), "step for each of lines"),
        (node("a", outside=True), "step, done outside"),
    ],
)
def test_a_box_says_what_kind_of_work_it_is(of: dict[str, Any], said: str) -> None:
    assert drawn(spec(of), None).boxes[1].about == said


def test_an_outcome_that_is_there_ends_the_way() -> None:
    painting = Painting({"enrich": Node("succeeded"), "file": Node("skipped")}, has_outcome=True)

    drawing = drawn(spec(node("enrich"), node("file", "enrich"), outcome="enrich"), painting)

    assert drawing.boxes[-1].state == "succeeded"
    # From the signal to the step, from there to the outcome; what was skipped is on no way.
    assert sum(edge.is_taken for edge in drawing.edges) == 2
