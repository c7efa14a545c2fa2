"""Tasks at the command line: what is asked for, and saying that it is done."""

from __future__ import annotations

import pytest

from meshline.cli.errors import CommandRefused
from meshline.cli.output import Form
from meshline.cli.task import complete, list_tasks, show
from meshline.events.codec import decode
from meshline.events.people_requests import TaskCompletionRequested
from meshline.projections.tasks_view import TaskRow
from tests.cli import rows
from tests.cli.doubles import NOW, FakeViews, TestedCall, memory_log
from tests.events.publish.doubles import everything

MEASURE = rows.approval(
    task="measure", kind="task", by="team:site", candidates=["team:site"],
    form_schema={"required": ["metres"], "properties": {"metres": {"type": "integer"}}},
)  # fmt: skip


async def call_with(*tasks: TaskRow, form: Form = Form.text) -> TestedCall:
    views = FakeViews({"runs": [rows.run()], "tasks": list(tasks)})
    return TestedCall(form, log=await memory_log(), views=views, wait_s=None)


async def test_the_only_task_of_a_run_need_not_be_named_to_complete_it() -> None:
    call = await call_with(MEASURE)

    await complete(call, "1f0c", form='{"metres": 84}', reason="all rooms")

    assert call._log is not None
    [record] = await everything(call._log)
    data = TaskCompletionRequested(task="measure", form={"metres": 84}, reason="all rooms")
    assert decode(record.value).data == data


async def test_one_of_several_must_be_named() -> None:
    call = await call_with(MEASURE, MEASURE._replace(task="paint"))

    with pytest.raises(CommandRefused, match="asks for measure, paint now: expected one task"):
        await complete(call, "1f0c")


async def test_a_list_says_what_kind_it_is_and_is_asked_for_one_kind() -> None:
    call = await call_with(MEASURE, rows.approval())

    await list_tasks(call, kind="task", state=["completed"])

    task, approval = call.data.splitlines()[1:]
    assert "measure" in task and " task " in task and "metres" in task
    assert "big" in approval and " approval " in approval
    views = call._views
    assert views is not None
    [(name, asked)] = views.asked
    assert (name, asked["kind"], asked["states"]) == ("tasks", "task", ["completed"])


async def test_one_is_shown_with_what_is_to_be_filled_in_and_what_was() -> None:
    done = MEASURE._replace(
        state="completed", decided_by="user:ada", decided_at=NOW, form={"metres": 84}
    )
    call = await call_with(done)

    await show(call, "1f0c", "measure")

    for part in ("task measure of run", "team:site", "user:ada", '{"metres":84}', "completed"):
        assert part in call.data
    with pytest.raises(CommandRefused, match="no task 'paint': expected one of measure"):
        await show(call, "1f0c", "paint")
