"""Histories of partitions with a directory that changes, and of people who may and may not."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from meshline.engine.core import (
    absences,
    directory,
    gaps,
    owners,
    task_actions,
    task_answers,
    task_rights,
    tasks,
)
from meshline.engine.core.keeper import Keeper
from meshline.events.people import People
from meshline.testing.keeper_simulation import KeeperSimulation, simulate_keeper
from tests.simulation.breaking import assert_found, break_code

SEEDS = 60
CHUNK = 20
SEEDS_MAX = 100


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_history_holds(first: int) -> None:
    for seed in range(first, first + CHUNK):
        try:
            simulate_keeper(seed, people=True)
        except Exception as error:
            error.add_note(f"seed {seed}, people=True: keep it")
            raise


def test_histories_are_hard() -> None:
    said: list[bytes] = []
    for seed in range(40):
        simulation = KeeperSimulation(Random(seed), people=True)
        simulation.run()
        said += [record.value for record in simulation.log.records]

    for word, least in (
        (b"directory.changed", 30), (b'"outdated"', 10), (b'"inconsistent"', 2),
        (b'"not_allowed"', 50), (b'"own_request"', 10), (b'"already_voted"', 5),
        (b"approval.voted", 10), (b'"voters":["', 5), (b"task.reminded", 10),
        (b"approval.escalated", 10), (b"rule:expiry", 2), (b'"why":"expired"', 5),
        (b"approval_expired", 2), (b"task.claimed", 10), (b"task.released", 5),
        (b"task.assigned", 10), (b"task.delegated", 8), (b'"claimed"', 10),
        (b"task.created", 20), (b"task.completed", 10), (b"task.escalated", 5),
        (b"task_expired", 1), (b'"is_task"', 1), (b'"is_approval"', 1),
        (b"absence.changed", 20), (b'"on_behalf_of":"', 5),
        (b'"kind":"owner_gone"', 10), (b"task.transferred", 3), (b'"not_theirs"', 10),
    ):  # fmt: skip
        assert sum(word in value for value in said) >= least, word


# What is broken: the function, a piece of it, and what stands there instead.
MUTANTS: dict[str, tuple[Callable[..., Any] | property, str, str]] = {
    "the vote of who was not asked counts": (
        People.through, "if each in roles", "if True",
    ),
    "the vote of one person counts twice": (
        task_rights.right_to_decide, "if not voted.isdisjoint({actor, right.on_behalf_of})",
        "if False",
    ),
    "who asks for it decides": (
        task_rights._right, "if asked.barred is not None and", "if False and",
    ),
    "who claims it takes it from another": (
        task_rights.right_to_claim, "if asked.task.assignee is not None:", "if False:",
    ),
    "a release frees what another claimed": (
        task_actions._release, "if not may:", "if False:",
    ),
    "what is claimed is decided by anybody who was asked": (
        task_rights._in_place_of, "return asked.people", "return Right(None) or asked.people",
    ),
    "anybody stands in for who is away": (
        People.right_of, "is_away and absence.substitute == actor", "is_away",
    ),
    "an older absence takes the place of a newer one": (
        absences.answer_absence, "absence.order <= before.order", "False",
    ),
    "who is gone is seen by nobody": (
        Keeper._complete, "if state.people.gone != gone:", "if False:",
    ),
    "who has nothing any more is seen for ever": (
        gaps._settle_gone, "and opened.about not in gone", "and False",
    ),
    "anybody hands over what is another's": (
        owners.answer_handover, "if request.actor.id != data.previous and", "if False and",
    ),
    "what is not theirs is handed over": (
        owners._task, "if data.previous not in (state.owner, assignee):", "if False:",
    ),
    "a task is completed by who was not asked": (
        task_answers._submit, "right = right_to_decide(asked)",
        "right = right_to_decide(asked) if is_decision else Right(None)",
    ),
    "a task is completed with a form that does not fit": (
        task_answers._complete, "if node.form is not None and (problem :=",
        "if False and (problem :=",
    ),
    "one vote is enough": (
        tasks.close_task, "len(task.votes) >= node.of", "task.votes",
    ),
    "people are reminded of what has expired": (
        tasks.close_task, "moment.now < task.due_at", "state.at < task.due_at",
    ),
    "what is denied on expiry is denied at the first reminder": (
        tasks.close_task, "elif task.due_at is not None and", "elif False and",
    ),
    "what is escalated stays with who had it": (
        tasks._due, "if number < len(node.escalate):", "if False:",
    ),
    "an older directory takes the place of a newer one": (
        directory.answer_directory, "if (data.number, found) < (", "if (9, found) < (",
    ),
}  # fmt: skip

# What few seeds find, and the seed that found it last.
FOUND_BY = {
    "anybody hands over what is another's": 62,
    "an older absence takes the place of a newer one": 50,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_what_is_broken_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, old, new = MUTANTS[name]
    break_code(monkeypatch, function, old, new)

    assert_found(
        name,
        range(SEEDS_MAX),
        lambda seed: simulate_keeper(seed, people=True),
        FOUND_BY.get(name, 0),
    )
