"""A run on a page: its state and waits, the five answers, and what to type next."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from meshline.cli.run_text import RunPage, run_columns, show_text
from meshline.cli.tables import plain_table
from tests.cli import rows
from tests.cli.doubles import NOW

WAIT = {
    "kind": "approval",
    "about": "big",
    "since": (NOW - timedelta(hours=1)).isoformat(),
    "until": (NOW + timedelta(hours=3)).isoformat(),
    "owner": "role:boss",
}


def page(*parts: Any, **changes: Any) -> str:
    kinds = {"ExceptionRow": [], "TaskRow": [], "PeriodRow": []}  # type: dict[str, list[Any]]
    for part in parts:
        kinds[type(part).__name__].append(part)
    return show_text(RunPage(rows.run(**changes), *kinds.values()), NOW)


def test_a_wait_says_on_what_since_until_and_whose() -> None:
    text = page(state="waiting", waits=[WAIT], waiting_since=NOW - timedelta(hours=1))

    assert (
        "waiting on        approval big, since 2026-01-01 11:00:00Z (1h), "
        "until 2026-01-01 15:00:00Z (in 3h), whose: role:boss"
    ) in text
    assert "state             waiting since 2026-01-01 11:00:00Z (1h)" in text


def test_a_wait_without_an_end_says_so() -> None:
    text = page(state="held", waits=[{**WAIT, "until": None}], waiting_since=NOW)

    assert "without an end of its own" in text


def test_the_five_answers_are_on_the_page() -> None:
    text = page()

    for answer in (
        "trigger           Ordered 7", "source system     shop", "owner             team:sales",
        "exception route   queue:sales", "expected outcome  Shipped",
    ):  # fmt: skip
        assert answer in text


def test_the_person_who_works_on_it_is_named() -> None:
    assert "team:sales, worked on by user:ada" in page(assignee="user:ada")


def test_a_due_time_is_told_open_in_time_and_late() -> None:
    due_at = NOW + timedelta(hours=1)

    assert "Shipped, due in 1h" in page(due_at=due_at)
    assert "Shipped, in time" in page(due_at=due_at, ended_at=NOW, state="succeeded")
    assert "Shipped, 2h late" in page(due_at=NOW - timedelta(hours=2), ended_at=NOW)


def test_an_ended_run_shows_its_outcome_or_its_reason() -> None:
    assert 'outcome           {"parcel":"1"}' in page(
        state="succeeded", ended_at=NOW, outcome={"parcel": "1"}
    )
    assert "reason            not wanted" in page(
        state="cancelled", ended_at=NOW, reason="not wanted"
    )


def test_what_is_open_leads_to_what_to_type() -> None:
    text = page(rows.exception(), rows.approval(), rows.period())

    assert "exception show ex-1f0c2a9b-0000000001" in text
    assert "approval approve 1f0c2a9b big --form '{…}'" in text
    assert "rule route" in text


def test_what_is_closed_leads_nowhere() -> None:
    text = page(rows.exception(state="resolved"), rows.approval(state="approved", decided_at=NOW))

    assert "exception show" not in text
    assert "approval approve" not in text


def test_a_run_in_a_list_is_one_line() -> None:
    row = rows.run(
        state="waiting", waits=[WAIT], waiting_since=NOW - timedelta(hours=1),
        wait_until=NOW + timedelta(hours=3), assignee="user:ada",
    )  # fmt: skip

    titles, line = plain_table(run_columns(NOW), [row]).splitlines()

    cells = [line[titles.index(title) :].split("  ")[0] for title in ("run", "state", "until")]
    assert cells == ["1f0c2a9b", "waiting", "in 3h"]
    assert "approval big" in line
    assert line[titles.index("whose") :].startswith("role:boss  user:ada")
    assert "user:ada" in line
