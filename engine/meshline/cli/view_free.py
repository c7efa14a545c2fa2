"""``meshline view retry`` and ``skip``: what a view has parked is applied after all, or left out.

Both are requests, and their answers are facts that the view acts on: see ``view parked``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from meshline.cli.call import Call, end
from meshline.cli.exits import Exit
from meshline.events.requests import ParkedActionRequested

if TYPE_CHECKING:
    from meshline.events.envelope import Position
    from meshline.events.log import EventLog
    from meshline.events.publish import RequestAnswer
    from meshline.projections.poison import ParkedKey
    from meshline.projections.queries import Views

__all__ = ["retry", "skip"]

KEYS_MAX = 1_000
"""Keys that one command acts on."""

Action = Literal["retry", "skip"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="The view.")]
Key = Annotated[
    str | None, typer.Option(help="The key, or enough of its beginning; see `view parked`.")
]
At = Annotated[
    str | None, typer.Option("--at", metavar="PARTITION:OFFSET", help="The event, by its place.")
]


async def retry(
    call: Call,
    name: Name,
    key: Key = None,
    at: At = None,
    reason: Annotated[str, typer.Option(help="Why; it stands in the history.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="All keys, where none is named.")] = False,
) -> None:
    """Apply parked events again, and what waits behind them: their cause is gone.

    Without --key or --at, all keys that are parked in the live build; --yes says that all are
    meant. It waits until the view has acted, and the exit code is 1 if an event fails again.

    \b
    Examples:
      meshline view retry ownership --key 1f0c2a9b
      meshline view retry ownership --yes --reason "the projector is upgraded"
    """
    parked = await _chosen(call, name, key, at)
    if not parked:
        call.out.say(f"Nothing is parked in the live build of {name}.")
        return
    if key is None and at is None and not yes:
        events = sum(1 + each.behind for each in parked)
        call.out.say(
            f"{len(parked):,} keys with {events:,} events are parked in {name}"
            f"{', and more' if len(parked) == KEYS_MAX else ''}. Nothing was done: say --yes to "
            "retry them, or --key which."
        )
        end(Exit.USAGE)
    await _act(call, parked, "retry", reason)


async def skip(
    call: Call,
    name: Name,
    reason: Annotated[str, typer.Option(help="Why; it stands in the history.")],
    key: Key = None,
    at: At = None,
) -> None:
    """Leave a parked event out of the view, and apply what waits behind it.

    The event stays in the log, and every rebuild leaves it out again, if its code can't apply it
    either. What was applied before is never taken back.

    \b
    Examples:
      meshline view skip ownership --key 1f0c2a9b --reason "a test that went wrong"
      meshline view skip ownership --at 3:1041 --reason "no event of ours"
    """
    if key is None and at is None:
        raise typer.BadParameter("say which event is left out", param_hint="--key or --at")
    if not reason.strip():
        raise typer.BadParameter("expected why it is left out", param_hint="--reason")
    await _act(call, await _chosen(call, name, key, at), "skip", reason)


# -- which -------------------------------------------------------------------------------------


async def _chosen(call: Call, name: str, key: str | None, at: str | None) -> list[ParkedKey]:
    """Return what is meant: one parked event, or the first of each key of the live build.

    Raises:
        NotFound: nothing is parked there, or more than one key is.
    """
    from meshline.projections.errors import NotFound
    from meshline.projections.poison import parked_keys

    if key is not None and at is not None:
        raise typer.BadParameter("give --key or --at", param_hint="--at")
    address = call.place.views
    if key is None and at is None:
        return await parked_keys(address, name, live_only=True, limit=KEYS_MAX)
    position = None if at is None else _position(at)
    found = await parked_keys(address, name, key=key, at=position, limit=KEYS_MAX)
    # The key itself, and not one that only begins so; in the live build, or else the newest.
    found = [each for each in found if each.key == key] or found
    keys = {(each.key, each.position.partition) for each in found}
    if len(keys) != 1:
        where = f"key {key!r}" if at is None else at
        some = ", ".join(f"{k!r} in partition {p}" for k, p in sorted(keys)[:3])
        raise NotFound(
            f"Expected one event that is parked in {name} under {where}, found {some or 'none'}: "
            f"see `meshline view parked {name}`, and say which with --at."
        )
    return [max(found, key=lambda each: (each.state == "live", each.version, each.build))]


def _position(text: str) -> Position:
    from meshline.events.envelope import Position

    partition, _, offset = text.partition(":")
    if not (partition.isdecimal() and offset.isdecimal() and len(text) < 20):
        raise typer.BadParameter(
            f"{text!r} is no place in the log: expected PARTITION:OFFSET, as in 3:1041",
            param_hint="--at",
        )
    return Position(int(partition), int(offset))


# -- asking, and what became of it -------------------------------------------------------------


class Freed(NamedTuple):
    """What became of the wish about one parked event.

    ``outcome``: ``applied`` or ``skipped`` (the key goes on), ``failed`` (parked again, as before),
    ``stopped`` (the key got further, and a later event stops it now); empty while nobody knows.
    ``events`` came free; ``parked`` are left, and ``error`` says why.
    """

    status: str
    outcome: str
    view: str
    version: int
    build: int
    key: str
    position: Position
    request: Position
    events: int
    parked: int
    error: str
    code: str | None
    reason: str


async def _act(call: Call, parked: Sequence[ParkedKey], action: Action, reason: str) -> None:
    """Append one request for each, wait until the view has acted, and tell."""
    from meshline.events.publish import Publisher
    from meshline.projections.freeing import subjects_of

    async with call.log() as log, Publisher(log, actor=call.actor) as publisher:
        subjects = await subjects_of(log, parked)
        answers: list[RequestAnswer] = []
        for each in parked:
            partition, offset = each.position
            request = ParkedActionRequested(
                view=each.name, partition=partition, offset=offset, action=action, reason=reason
            )
            answers.append(
                await publisher.request(
                    subjects[each.position],
                    request,
                    actor=call.actor,
                    partition=partition,
                    wait_s=call.wait_s,
                )
            )
        accepted = [each for each, a in zip(parked, answers, strict=True) if a.status == "accepted"]
        left = await _left(call, log, accepted) if accepted else {}
    worst = Exit.OK
    with call.out.stream() as emit:
        for each, answer in zip(parked, answers, strict=True):
            freed = _freed(each, answer, action, left)
            emit(freed, _text(freed))
            worst = max(worst, _exit(freed, waited=call.wait_s is not None))
    if worst is Exit.UNANSWERED:
        call.out.say(
            f"No answer within {call.wait_s:g} s. The request is in the log: a worker decides "
            "about it, and then a projector acts. See that both run, and look with "
            f"`meshline view parked {parked[0].name}`."
        )
    end(worst)


async def _left(
    call: Call, log: EventLog, asked: Sequence[ParkedKey]
) -> dict[tuple[int, str], ParkedKey] | None:
    """Return what is still parked of these keys, once the view has acted; None: it has not yet."""
    from meshline.events.envelope import Position
    from meshline.projections.errors import NotReached
    from meshline.projections.lag import reached
    from meshline.projections.poison import parked_keys

    assert call.wait_s is not None, "an answer was waited for"
    # The facts are in the log by now: its end is behind them.
    ends = await log.ends()
    partitions = {each.position.partition for each in asked}
    first = asked[0]
    try:
        async with call.views() as views:
            await reached(
                _Build(views, first.version, first.build),
                [Position(p, ends[p] - 1) for p in partitions],
                [first.name],
                timeout_s=call.wait_s,
            )
    except NotReached:
        return None
    found = await parked_keys(
        call.place.views,
        first.name,
        of=[(each.position.partition, each.key) for each in asked],
        limit=KEYS_MAX,
    )
    return {
        (each.position.partition, each.key): each
        for each in found
        if (each.version, each.build) == (first.version, first.build)
    }


class _Build:
    """How far one build has read, whether it is live or not."""

    def __init__(self, views: Views, version: int, build: int) -> None:
        self._views = views
        self._build = (version, build)

    async def live_checkpoints(self, names: Iterable[str]) -> dict[str, dict[int, int]]:
        return {
            status.name: {p: checkpoint.offset for p, checkpoint in status.checkpoints.items()}
            for status in await self._views.status()
            if status.name in names and (status.version, status.build) == self._build
        }


def _freed(
    asked: ParkedKey,
    answer: RequestAnswer,
    action: Action,
    left: dict[tuple[int, str], ParkedKey] | None,
) -> Freed:
    before = 1 + asked.behind
    outcome, events, parked, error = "", 0, before, ""
    if answer.status == "accepted" and left is not None:
        still = left.get((asked.position.partition, asked.key))
        parked = 0 if still is None else 1 + still.behind
        events = max(0, before - parked)
        outcome = "applied" if action == "retry" else "skipped"
        if still is not None and still.stops:
            error = f"{still.error} (at {still.position})"
            if still.position > asked.position:
                outcome = "stopped"
            elif action == "retry":
                outcome = "failed"
        elif still is not None and still.position == asked.position:
            outcome, error = "failed", still.error
    return Freed(
        answer.status, outcome, asked.name, asked.version, asked.build, asked.key, asked.position,
        answer.position, events, parked, error, answer.code, answer.reason,
    )  # fmt: skip


def _text(freed: Freed) -> str:
    about = f"{freed.key or freed.position} in {freed.view}"
    match freed.outcome:
        case "applied":
            return f"applied   {about}: {freed.events:,} events"
        case "skipped":
            left = f"; {freed.parked:,} events are still parked" if freed.parked else ""
            return f"skipped   {about}: {freed.position} is left out{left}"
        case "failed":
            return f"failed    {about}: {freed.error}; {freed.parked:,} events are parked"
        case "stopped":
            return f"stopped   {about}: further on, by {freed.error}; {freed.parked:,} are parked"
    if freed.status == "rejected":
        return f"rejected  {about}  {freed.code}: {freed.reason}"
    return f"{freed.status:<8}  {about}"


def _exit(freed: Freed, *, waited: bool) -> Exit:
    if freed.status == "rejected":
        return Exit.REFUSED
    if freed.outcome in ("failed", "stopped"):
        return Exit.FAILED
    return Exit.UNANSWERED if waited and not freed.outcome else Exit.OK
