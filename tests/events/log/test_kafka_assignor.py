"""How a consumer group shares the partitions; `share` itself has its own tests."""

from __future__ import annotations

from typing import Any

from meshline.events.log.kafka_assignor import Held, assignor_of


class Cluster:
    """Knows one topic of six partitions."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        assert topic == "t"
        return set(range(6))


def shared(members: dict[str, Held]) -> dict[str, list[int]]:
    """Share as the leader does: with what each member's own assignor told over the wire."""
    told: dict[str, Any] = {
        member: assignor_of(lambda held=held: held).metadata(["t"])  # type: ignore[misc]
        for member, held in members.items()
    }
    leader = assignor_of(lambda: Held(frozenset(), 0))
    return {
        member: sorted(partition for _, mine in given.assignment for partition in mine)
        for member, given in leader.assign(Cluster(), told).items()
    }


NOTHING = Held(frozenset(), 0)


def test_new_members_share_evenly() -> None:
    given = shared({"a": NOTHING, "b": NOTHING})

    assert sorted(given["a"] + given["b"]) == [0, 1, 2, 3, 4, 5]
    assert len(given["a"]) == 3


def test_one_that_joins_gets_its_share_and_the_rest_stays() -> None:
    given = shared(
        {"a": Held(frozenset({0, 2, 4}), 5), "b": Held(frozenset({1, 3, 5}), 5), "c": NOTHING}
    )

    assert set(given["a"]) < {0, 2, 4}
    assert set(given["b"]) < {1, 3, 5}
    assert len(given["c"]) == 2


def test_what_a_frozen_member_still_believes_in_does_not_count() -> None:
    given = shared({"a": Held(frozenset(range(6)), 1), "b": Held(frozenset(range(6)), 2)})

    assert len(given["a"]) == len(given["b"]) == 3


def test_a_lone_member_gets_all() -> None:
    assert shared({"a": NOTHING}) == {"a": [0, 1, 2, 3, 4, 5]}


def test_more_members_than_partitions_leave_some_without() -> None:
    given = shared(dict.fromkeys("abcdefgh", NOTHING))

    assert sorted(map(len, given.values())) == [0, 0, 1, 1, 1, 1, 1, 1]
