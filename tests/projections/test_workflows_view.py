from __future__ import annotations

from meshline.events import facts
from meshline.projections.workflows_view import workflows
from tests.projections.given import at, rows_after, said

SPEC = {
    "trigger": {"type": "Form"}, "source": "web.forms", "owner": "team:a",
    "exception_route": "queue:t", "expected_outcome": "Lead", "observed": False,
}  # fmt: skip


def registered(version: int = 1, spec_hash: str = "aa") -> facts.WorkflowRegistered:
    return facts.WorkflowRegistered(
        workflow="lead", version=version, spec_hash=spec_hash, spec=SPEC
    )


async def test_a_definition_gives_the_five_answers() -> None:
    (row,) = await rows_after(workflows, registered())

    assert (row.trigger_type, row.source, row.owner, row.exception_route, row.expected_outcome) == (
        "Form", "web.forms", "team:a", "queue:t", "Lead",
    )  # fmt: skip


async def test_every_partition_registers_it_and_the_earliest_counts() -> None:
    rows = await rows_after(
        workflows, said(registered(), time=at(5)), said(registered(), time=at(2)), registered(2)
    )

    assert [(row.version, row.registered_at) for row in rows] == [(1, at(2)), (2, at(2))]


async def test_one_version_with_two_hashes_stands_there_twice() -> None:
    rows = await rows_after(workflows, registered(1, "aa"), registered(1, "bb"))

    assert [row.spec_hash for row in rows] == ["aa", "bb"]
