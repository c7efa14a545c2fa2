"""Who gets which partition."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from meshline.events.log.sharing import share

MEMBERS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


@given(
    st.integers(0, 40), st.dictionaries(st.integers(0, 45), st.sampled_from("abcdefghxyz")), MEMBERS
)
def test_every_partition_has_one_member_and_all_have_equally_many(
    partitions: int, held: dict[int, str], members: list[str]
) -> None:
    shared = share(partitions, held, members)

    counts = Counter(dict.fromkeys(members, 0)) + Counter(shared.values())
    assert set(shared) == (set(range(partitions)) if members else set())
    assert set(shared.values()) <= set(members)
    if members:
        numbers = [counts[member] for member in members]
        assert max(numbers) - min(numbers) <= 1


@given(st.integers(0, 40), MEMBERS)
def test_what_is_shared_evenly_stays_as_it_is(partitions: int, members: list[str]) -> None:
    once = share(partitions, {}, members)

    assert share(partitions, once, members) == once
    assert share(partitions, once, members[::-1]) == once


@given(st.integers(1, 40), MEMBERS.filter(bool))
def test_one_that_comes_takes_only_its_own_share(partitions: int, members: list[str]) -> None:
    before = share(partitions, {}, members)

    after = share(partitions, before, [*members, "new"])

    moved = {p for p in after if after[p] != before[p]}
    assert all(after[p] == "new" for p in moved)
    assert len(moved) <= -(-partitions // (len(members) + 1))


@given(st.integers(1, 40), MEMBERS.filter(lambda members: len(members) > 1))
def test_of_one_that_goes_only_its_own_share_moves(partitions: int, members: list[str]) -> None:
    before = share(partitions, {}, members)

    after = share(partitions, before, members[1:])

    assert all(before[p] == members[0] for p in after if after[p] != before[p])
