"""Who gets which partition: evenly, and with as little moving as possible. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["share"]


def share(partitions: int, held: Mapping[int, str], members: Sequence[str]) -> dict[int, str]:
    """Return by partition the member that should hold it; empty if there are no members.

    Args:
        partitions: how many there are.
        held: by partition, the member that should have held it until now.
        members: those that live, in the order in which they joined. The numbers of partitions of
            two members differ by one at most, and the earlier ones have the more.
    """
    if not members:
        return {}
    fewest, more = divmod(partitions, len(members))
    shared: dict[int, str] = {}
    count = dict.fromkeys(members, 0)
    for partition in range(partitions):
        holder = held.get(partition)
        if holder in count and count[holder] < fewest + (more > 0):
            shared[partition] = holder
            count[holder] += 1
    # So far a member has at most one too many; only `more` of them may keep that one.
    allowance = more
    quota = dict.fromkeys(members, fewest)
    for member in sorted(members, key=lambda m: -count[m]):
        if allowance:
            quota[member] += 1
            allowance -= 1
    for partition in sorted(shared, reverse=True):
        if count[shared[partition]] > quota[shared[partition]]:
            count[shared[partition]] -= 1
            del shared[partition]
    free = [partition for partition in range(partitions) if partition not in shared]
    for member in members:
        while count[member] < quota[member]:
            shared[free.pop(0)] = member
            count[member] += 1
    return shared
