"""Who is in what, and what can't be a directory."""

from __future__ import annotations

from typing import Any

import pytest

from meshline.events.directory import (
    DIRECTORY_BYTES_MAX,
    Directory,
    Roster,
    difference,
    hash_of,
    problems_of,
)


def directory(**content: Any) -> Directory:
    return Directory.model_validate({"users": {"ada": {}, "bob": {}}} | content)


def teams(**members: list[str]) -> dict[str, Any]:
    return {name: {"members": each} for name, each in members.items()}


def test_a_user_is_in_each_group_through_others_too() -> None:
    roster = Roster(
        directory(
            teams=teams(revops=["user:ada"], emea=["team:revops", "user:bob"]),
            roles=teams(lead=["team:emea"]),
        )
    )

    assert roster.roles_of("user:ada") == {"user:ada", "team:revops", "team:emea", "role:lead"}
    assert roster.roles_of("user:bob") == {"user:bob", "team:emea", "role:lead"}
    assert roster.users_of("role:lead") == ["user:ada", "user:bob"]
    assert roster.users_of("user:ada") == ["user:ada"]


def test_who_is_not_in_the_directory_is_nobody() -> None:
    roster = Roster(directory())

    assert roster.roles_of("user:eve") == frozenset()
    assert roster.users_of("team:none") == []
    assert not roster.knows("team:ada") and roster.knows("user:ada")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"teams": teams(a=["user:eve"])}, "team:a has user:eve, who is not in the directory"),
        ({"teams": teams(a=["ada"])}, "team:a has 'ada': expected a principal"),
        ({"teams": teams(a=["user:ada", "user:ada"])}, "team:a has user:ada twice"),
        ({"teams": teams(a=["team:a"])}, "team:a in team:a: a group can't be in itself"),
        (
            {"teams": teams(a=["role:b"]), "roles": teams(b=["queue:c"]),
             "queues": teams(c=["team:a"])},
            "in itself",
        ),
        ({"users": {"a b": {}}}, "'user:a b' is no name"),
        ({"roles": teams(admin=[])}, "role:admin has no user"),
    ],
)  # fmt: skip
def test_what_is_inconsistent_is_named(content: dict[str, Any], problem: str) -> None:
    assert problem in "; ".join(problems_of(directory(**content)))


def test_a_long_chain_of_groups_is_no_cycle() -> None:
    chain = {f"t{n}": [f"team:t{n + 1}"] for n in range(3000)} | {"t3000": ["user:ada"]}
    found = directory(teams=teams(**chain))

    assert problems_of(found) == []
    assert len(Roster(found).roles_of("user:ada")) == 3002


def test_one_that_is_too_large_is_refused_by_its_size_alone() -> None:
    users = {f"u{n}": {"name": "x" * 100} for n in range(DIRECTORY_BYTES_MAX // 100)}

    (problem,) = problems_of(directory(users=users))

    assert "expected at most 262144" in problem


def test_equal_directories_have_one_hash_whatever_their_order() -> None:
    one = directory(teams=teams(a=["user:ada"], b=[]))
    other = directory(teams=teams(b=[], a=["user:ada"]))

    assert hash_of(one) == hash_of(other) != hash_of(directory())


def test_a_difference_names_who_comes_who_goes_and_who_changes() -> None:
    before = directory(teams=teams(a=["user:ada"], gone=[]))
    after = directory(
        users={"ada": {"name": "Ada"}, "cid": {}},
        teams=teams(a=["user:cid"], new=["user:ada"]),
    )

    assert difference(before, after) == [
        "- user:bob", "- team:gone", "user:ada is now 'Ada' <>", "+ user:cid",
        "team:a - user:ada", "team:a + user:cid", "+ team:new", "team:new + user:ada",
    ]  # fmt: skip
    assert difference(after, after) == []
