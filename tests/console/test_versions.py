"""Two definitions as data, compared."""

from __future__ import annotations

from typing import Any

from meshline.console.versions import Difference, differences


def spec(**changed: Any) -> dict[str, Any]:
    step = {"name": "ship", "kind": "step", "retry": {"attempts": 2, "initial_s": 1}}
    return {"name": "orders", "version": 1, "owner": "team:a", "due_s": 60, "nodes": [step]} | (
        changed
    )


def test_what_is_the_same_is_not_told_and_a_version_differs_always() -> None:
    assert differences(spec(), spec(version=2)) == []


def test_changed_answers_and_changed_parts_of_a_node_are_told_with_both_values() -> None:
    step = {"name": "ship", "kind": "step", "retry": {"attempts": 9, "initial_s": 1}}

    assert differences(spec(), spec(owner="team:b", due_s=None, nodes=[step])) == [
        Difference("the workflow", "owner", "team:a", "team:b"),
        Difference("the workflow", "due s", "60", None),
        Difference("ship", "retry.attempts", "2", "9"),
    ]


def test_nodes_that_come_and_go_are_told() -> None:
    approval = {"name": "credit", "kind": "approval"}

    assert differences(spec(), spec(nodes=[approval])) == [
        Difference("credit", "is new", None, "approval"),
        Difference("ship", "is gone", "step", None),
    ]


def test_a_long_value_is_cut() -> None:
    [change] = differences(spec(owner="a" * 10_000), spec(owner="b"))

    assert change.before is not None and len(change.before) == 400
