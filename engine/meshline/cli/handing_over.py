"""Giving all that is somebody's to another: counted first, then asked for one by one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from meshline.cli.call import Call, end
from meshline.cli.exits import Exit
from meshline.cli.run_ids import whole_id
from meshline.cli.words import short
from meshline.events.people_requests import HandoverRequested

if TYPE_CHECKING:
    from meshline.events.publish import RequestAnswer
    from meshline.projections.owner_queries import Possession

__all__ = ["hand_over"]

AT_ONCE = 32
"""Requests under way at one time."""

_KINDS = ("run", "exception", "approval", "task")


async def hand_over(
    call: Call, previous: str, owner: str, run: str | None, reason: str, *, yes: bool
) -> None:
    """Count what is ``previous``'s and, with ``yes``, ask for each of it and tell the answer."""
    run_id = None if run is None else await whole_id(call, run)
    theirs = [thing async for thing in _possessions(call, previous, run_id)]
    counts = Counter[str](thing.kind for thing in theirs)
    said = ", ".join(f"{counts[kind]:,} {kind}{'s' * (counts[kind] != 1)}" for kind in _KINDS)
    call.out.say(f"{previous} has {said} to hand over to {owner}.")
    if not theirs:
        return
    if not yes:
        call.out.say("Nothing was done: say --yes to hand it over.")
        end(Exit.USAGE)
    worst, results = Exit.OK, Counter[str]()
    async with call.publisher() as publisher:
        with call.out.stream() as emit:
            for start in range(0, len(theirs), AT_ONCE):
                some = theirs[start : start + AT_ONCE]
                asked = [
                    publisher.request(
                        thing.run_id,
                        HandoverRequested(
                            kind=thing.kind, about=thing.about, previous=previous, owner=owner,
                            reason=reason,
                        ),
                        actor=call.actor,
                        wait_s=call.wait_s,
                    )
                    for thing in some
                ]  # fmt: skip
                for thing, answer in zip(some, await asyncio.gather(*asked), strict=True):
                    emit(_as_data(thing, answer), _text(thing, answer))
                    results[answer.status] += 1
    call.out.say(", ".join(f"{count:,} {status}" for status, count in results.items()) + ".")
    if results["rejected"]:
        worst = Exit.REFUSED
    elif results["appended"] and call.wait_s is not None:
        worst = Exit.UNANSWERED
    end(worst)


async def _possessions(call: Call, owner: str, run_id: str | None) -> AsyncIterator[Possession]:
    after: str | None = None
    async with call.views() as views:
        while True:
            page = await views.possessions(owner, run_id=run_id, limit=1_000, after=after)
            for thing in page.rows:
                yield thing
            after = page.next
            if after is None:
                return


def _as_data(thing: Possession, answer: RequestAnswer) -> dict[str, str | None]:
    return {
        "status": answer.status,
        "kind": thing.kind,
        "run_id": thing.run_id,
        "about": thing.about,
        "position": str(answer.position),
        "code": answer.code,
        "reason": answer.reason,
    }


def _text(thing: Possession, answer: RequestAnswer) -> str:
    what = f"{thing.kind} {thing.about}".strip()
    said = f"{answer.status:<8}  {what} of run {short(thing.run_id)}"
    if thing.kind == "run":
        said = f"{answer.status:<8}  run {short(thing.run_id)}"
    return f"{said}  {answer.code}: {answer.reason}" if answer.status == "rejected" else said
