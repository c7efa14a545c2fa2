"""``meshline demo``: a day of form submissions goes through, and what came of it is shown."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from meshline.cli.call import Call, command, group
from meshline.cli.errors import CommandRefused
from meshline.cli.home import alone, emptied
from meshline.cli.loops import run_fast
from meshline.cli.place import DEMO, EMBEDDED, HOME, Place, Runtime

__all__ = ["app"]

app = group("See it work: submissions of a web form, on this machine.")

EXAMPLE = Path("examples/lead_intake.py")


@command(app, where=False, data=False, runner=run_fast)
async def demo(
    call: Call,
    count: Annotated[int, typer.Option(min=20, max=50_000, help="How many submissions.")] = 500,
    seed: Annotated[int, typer.Option(help="The same seed gives the same submissions.")] = 7,
) -> None:
    """Run lead intake on this machine: 500 submissions of a web form, and what becomes of them.

    In an empty PostgreSQL of its own (.meshline/demo), which stays there to look at afterwards.
    All that is printed is read from the views; nothing is made up but the submissions.

    \b
    Examples:
      meshline demo
      meshline demo --count 2000 --seed 11
    """
    example = _example()
    place = Place(HOME / DEMO, EMBEDDED, EMBEDDED, "demo")
    with alone(place.home), emptied(place.data), closing(place):
        Runtime.of(place, str(example)).write(place.home)
        # The server takes as long to start as all that comes next takes to be imported.
        place.begin()
        from meshline.cli.demo_day import run_day

        await run_day(call, place, example, count, seed)


def _example() -> Path:
    checkout = Path(__file__).resolve().parents[3]
    for root in (Path(), checkout):
        if (root / EXAMPLE).is_file():
            path = (root / EXAMPLE).resolve()
            here = Path.cwd()
            return path.relative_to(here) if path.is_relative_to(here) else path
    raise CommandRefused(
        f"There is no {str(EXAMPLE)!r} here: expected to be in a checkout of Meshline, where the "
        "examples are. Clone the repository, and run it there."
    )
