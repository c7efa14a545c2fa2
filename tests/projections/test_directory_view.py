from __future__ import annotations

from meshline.events.directory import Directory, Person
from meshline.events.facts import AbsenceChanged, DirectoryChanged
from meshline.projections.directory_view import absences, directories, partitions
from meshline.projections.people_queries import roster_of
from tests.projections.given import at, rows_after, said


def changed(number: int = 1, directory_hash: str = "aa", user: str = "ada") -> DirectoryChanged:
    return DirectoryChanged(
        number=number, directory_hash=directory_hash, reason="why",
        directory=Directory(users={user: Person(name="Ada")}),
    )  # fmt: skip


async def test_each_change_is_kept_with_who_and_why_as_it_was_said_first() -> None:
    rows = await rows_after(
        directories, said(changed(), time=at(5)), said(changed(), time=at(2)), changed(2, "bb")
    )

    assert [(row.number, row.changed_at, row.actor, row.reason) for row in rows] == [
        (1, at(2), "user:ada", "why"), (2, at(2), "user:ada", "why"),
    ]  # fmt: skip
    roster = roster_of(rows[0])
    assert roster is not None and roster.knows("user:ada")


async def test_two_that_were_applied_at_once_both_stand_there() -> None:
    rows = await rows_after(directories, changed(1, "aa"), changed(1, "bb", "bob"))

    assert [row.directory_hash for row in rows] == ["aa", "bb"]


async def test_a_partition_decides_by_what_it_said_last() -> None:
    (row,) = await rows_after(partitions, changed(1, "aa"), changed(2, "bb"))

    assert (row.partition, row.number, row.directory_hash) == (0, 2, "bb")


async def test_of_what_was_asked_about_an_absence_the_last_counts_in_any_order() -> None:
    def away(minute: int, substitute: str | None) -> AbsenceChanged:
        return AbsenceChanged(
            user="user:ada", substitute=substitute, since=at(0), until=at(60),
            requested_at=at(minute), reason="why",
        )  # fmt: skip

    first, last = away(1, "user:bob"), away(2, "user:cid")

    for said_first, said_then in ((first, last), (last, first)):
        (row,) = await rows_after(absences, said_first, said_then)
        assert (row.substitute, row.until, row.actor) == ("user:cid", at(60), "user:ada")

    (row,) = await rows_after(absences, last, away(3, None))
    assert row.substitute is None
