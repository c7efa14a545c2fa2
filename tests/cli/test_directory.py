"""The directory at the command line: what a file says, what would change, who is in what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from meshline.cli.directory import apply, check, show
from meshline.cli.errors import CommandRefused
from meshline.cli.exits import Exit
from meshline.cli.output import Form
from meshline.events.codec import decode
from meshline.events.directory import Directory, hash_of
from meshline.events.people_requests import DirectoryChangeRequested
from meshline.projections.directory_view import DirectoryPartitionRow, DirectoryRow
from meshline.projections.errors import NotFound
from tests.cli.doubles import NOW, FakeViews, TestedCall, memory_log
from tests.events.publish.doubles import everything

CONTENT = """
[users.ada]
name = "Ada Lovelace"

[users.bob]

[teams.revops]
members = ["user:ada"]

[roles.sales-lead]
members = ["team:revops"]
"""


def file_of(folder: Path, content: str = CONTENT) -> Path:
    path = folder / "people.toml"
    path.write_text(content, "utf-8")
    return path


def row(number: int, **content: Any) -> DirectoryRow:
    directory = Directory.model_validate(content)
    return DirectoryRow(
        number, hash_of(directory), NOW, "user:ada", "", 0, 5, directory.model_dump(mode="json")
    )


async def call_with(current: DirectoryRow | None, *partitions: int, **options: Any) -> TestedCall:
    taken = [
        DirectoryPartitionRow(p, current.number, current.directory_hash, NOW, 5)
        for p in partitions
        if current is not None
    ]
    views = FakeViews({"directory": current, "directory_partitions": taken})  # type: ignore[dict-item]
    return TestedCall(log=await memory_log(), views=views, wait_s=None, **options)


async def asked(call: TestedCall) -> list[tuple[int, DirectoryChangeRequested]]:
    assert call._log is not None
    return [(r.partition, decode(r.value).data) for r in await everything(call._log)]


async def test_a_file_is_checked(tmp_path: Path) -> None:
    call = TestedCall()

    await check(call, file_of(tmp_path))

    assert "in order: 2 users, 1 teams, 1 roles, 0 queues" in call.data


async def test_a_file_with_problems_ends_with_1_and_names_them(tmp_path: Path) -> None:
    call = TestedCall()

    with pytest.raises(typer.Exit) as ended:
        await check(call, file_of(tmp_path, CONTENT.replace("user:ada", "user:eve")))

    assert ended.value.exit_code == Exit.FAILED
    assert "team:revops has user:eve, who is not in the directory" in call.data


@pytest.mark.parametrize(
    ("content", "words"),
    [("[users", "is no TOML"), ("[users.ada]\nage = 3", r"users\.ada\.age")],
)
async def test_what_is_no_directory_is_refused(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(CommandRefused, match=words):
        await check(TestedCall(), file_of(tmp_path, content))


async def test_the_difference_is_shown_and_nothing_done_without_yes(tmp_path: Path) -> None:
    call = await call_with(row(3, users={"ada": {"name": "Ada Lovelace"}, "eve": {}}), 0, 1)

    with pytest.raises(typer.Exit) as ended:
        await apply(call, file_of(tmp_path))

    assert ended.value.exit_code == Exit.USAGE
    for line in ("- user:eve", "+ user:bob", "+ team:revops", "team:revops + user:ada"):
        assert line in call.words.splitlines()
    assert await asked(call) == []


async def test_every_partition_is_asked_for_the_next_number(tmp_path: Path) -> None:
    call = await call_with(row(3, users={"ada": {}}), 0, 1, form=Form.jsonl)

    await apply(call, file_of(tmp_path), yes=True, reason="Bob is new")

    requests = await asked(call)
    assert [partition for partition, _ in requests] == [0, 1]
    assert {(data.number, data.reason) for _, data in requests} == {(4, "Bob is new")}
    assert [value["status"] for value in call.values] == ["appended"] * 2


async def test_partitions_that_did_not_hear_of_it_are_asked_again(tmp_path: Path) -> None:
    current = row(
        3, users={"ada": {"name": "Ada Lovelace"}, "bob": {}},
        teams={"revops": {"members": ["user:ada"]}},
        roles={"sales-lead": {"members": ["team:revops"]}},
    )  # fmt: skip
    call = await call_with(current, 0)

    await apply(call, file_of(tmp_path), yes=True)

    [(partition, data)] = await asked(call)
    assert (partition, data.number) == (1, 3)
    assert "Partitions without it: 1." in call.words


async def test_a_directory_that_holds_already_is_left(tmp_path: Path) -> None:
    first = await call_with(None)
    await apply(first, file_of(tmp_path), yes=True)
    [(_, data), _] = await asked(first)

    call = await call_with(row(1, **data.directory.model_dump()), 0, 1)
    await apply(call, file_of(tmp_path), yes=True)

    assert await asked(call) == [] and "already, number 1" in call.words


async def test_it_is_shown_who_is_in_what() -> None:
    content = {
        "users": {"ada": {"name": "Ada"}},
        "teams": {"revops": {"members": ["user:ada"]}},
        "roles": {"lead": {"members": ["team:revops"]}},
    }
    call = await call_with(row(3, **content), form=Form.jsonl)

    await show(call, "user:ada")

    assert call.values == [
        {
            "principal": "user:ada",
            "name": "Ada",
            "members": [],
            "is_in": ["role:lead", "team:revops"],
        }
    ]
    with pytest.raises(NotFound, match="There is no 'team:eve'"):
        await show(call, "team:eve")


async def test_without_a_directory_it_says_so() -> None:
    call = await call_with(None)

    await show(call)

    assert "There is no directory" in call.words
