"""``meshline view swap``, ``rollback`` and ``retire``: which build of a view people see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from meshline.cli.call import Call, seconds

if TYPE_CHECKING:
    from meshline.projections.postgres_builds import Build, Builds

__all__ = ["builds_at", "retire", "rollback", "swap"]

BEHIND_MAX = 1_000
FED_WITHIN_S = 2.0

Name = Annotated[str, typer.Argument(metavar="NAME", help="The view.")]
Version = Annotated[
    int | None, typer.Option("--version", metavar="N", help="Instead of the newest.")
]
Number = Annotated[
    int | None, typer.Option("--build", metavar="N", help="Of the version, not the newest.")
]
BehindMax = Annotated[
    int, typer.Option(min=0, metavar="N", help="Events that it may be behind the log.")
]
WaitFor = Annotated[
    str, typer.Option("--wait", metavar="10s", help="For it to catch up, and for readers.")
]


@asynccontextmanager
async def builds_at(call: Call, *, only_look: bool = False) -> AsyncIterator[Builds]:
    """The builds of the views; their books are made if there are none, except to look."""
    from meshline.projections.postgres_builds import Builds

    books = Builds(call.place.views)
    try:
        if not only_look:
            await books.open()
        yield books
    finally:
        await books.aclose()


async def swap(
    call: Call,
    name: Name,
    version: Version = None,
    build: Number = None,
    behind_max: BehindMax = BEHIND_MAX,
    wait_for: WaitFor = "10s",
    allow_parked: Annotated[
        bool, typer.Option("--allow-parked", help="Though it could not take in every event.")
    ] = False,
) -> None:
    """Let the stable names of a view show another build: the newest that is loaded.

    One transaction; no query fails or sees half of it. The build that was live stays warm for
    `meshline view rollback`, until `meshline view retire`.

    \b
    Examples:
      meshline view swap ownership
      meshline view swap ownership --version 2 --wait 1m
    """
    from meshline.projections.build_choice import build_to_swap_to
    from meshline.projections.rebuild import swap_when_ready

    async with call.log() as log, builds_at(call) as books:
        target = await build_to_swap_to(books, name, version, build)
        before = await swap_when_ready(
            books,
            log,
            target,
            actor=call.actor.id,
            behind_max=behind_max,
            wait_s=seconds(wait_for, "--wait"),
            allow_parked=allow_parked,
        )
        is_fed = await _is_fed(books, target)
    was = f" It was {before}." if before else ""
    call.out.say(f"Live: {target}.{was} Back: meshline view rollback {name}")
    _say_unfed(call, is_fed)


async def rollback(
    call: Call, name: Name, behind_max: BehindMax = BEHIND_MAX, wait_for: WaitFor = "10s"
) -> None:
    """Let the stable names show the build that was live before the present one.

    \b
    Examples:
      meshline view rollback ownership
    """
    from meshline.projections.build_choice import build_before
    from meshline.projections.rebuild import swap_when_ready

    async with call.log() as log, builds_at(call) as books:
        target = await build_before(books, name)
        before = await swap_when_ready(
            books,
            log,
            target,
            actor=call.actor.id,
            behind_max=behind_max,
            wait_s=seconds(wait_for, "--wait"),
            # It was live with what it has: going back must not be harder than that.
            allow_parked=True,
            is_rollback=True,
        )
        is_fed = await _is_fed(books, target)
    call.out.say(f"Live: {target}. It was {before}.")
    _say_unfed(call, is_fed)


async def _is_fed(books: Builds, build: Build) -> bool:
    """Whether a projector has it; one that runs finds a new build within a second or so."""
    clock = asyncio.get_running_loop().time
    give_up = clock() + FED_WITHIN_S
    while not await books.has_writer(build):
        if clock() >= give_up:
            return False
        await asyncio.sleep(0.1)
    return True


def _say_unfed(call: Call, is_fed: bool) -> None:
    if not is_fed:
        call.out.say(
            "No projector feeds it at this moment: people are shown nothing newer until "
            "`meshline projector` runs with its code."
        )


async def retire(
    call: Call,
    name: Name,
    version: Annotated[int, typer.Option("--version", metavar="N", help="Which version.")],
    build: Annotated[int, typer.Option("--build", metavar="N", help="Of the version.")] = 1,
) -> None:
    """Drop a build that is not live. Nobody can roll back to it then.

    \b
    Examples:
      meshline view retire ownership --version 1
      meshline view retire ownership --version 1 --build 2
    """
    from meshline.projections.postgres_builds import Build

    target = Build(name, version, build)
    async with builds_at(call) as books:
        await books.retire(target, actor=call.actor.id)
    call.out.say(f"Dropped {target}.")
