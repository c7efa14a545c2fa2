"""``meshline view rebuild`` and ``verify``, and what tells a rebuild to pause, go on or stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshline.cli.call import Call, end
from meshline.cli.exits import Exit
from meshline.cli.output import Form
from meshline.cli.own_views import VARIABLE, known_projections
from meshline.cli.progress import Progress as Bar
from meshline.cli.view_builds import builds_at

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from meshline.projections.postgres_builds import Build, Wish
    from meshline.projections.projection import Projection
    from meshline.projections.rebuild import Progress
    from meshline.projections.rebuild_verify import Verdict

__all__ = ["cancel", "pause", "progress_text", "rebuild", "resume", "verify"]

SAY_EACH_S = 10.0
"""Between two lines about a rebuild where no bar can be shown."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="The view.")]
Throttle = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Events per second, at most.")
]


def declared(name: str) -> Projection:
    """Return the projection that goes by the name; another name is a mistake of usage."""
    known = known_projections()
    for projection in known:
        if projection.name == name:
            return projection
    names = ", ".join(projection.name for projection in known)
    raise typer.BadParameter(
        f"there is no view {name!r}: expected one of {names}. Views of your own are known where "
        f"{VARIABLE} names their module"
    )


async def rebuild(
    call: Call,
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="The views.")],
    throttle: Throttle = None,
) -> None:
    """Build views anew beside the live ones, in one pass over the log.

    The live ones go on as before. A rebuild that was stopped, or killed, goes on where it was when
    it is started again. Afterwards `meshline projector` keeps the new build up to date, until
    `meshline view swap` makes it live or `meshline view retire` drops it.

    The exit code is 1 if the new build has parked events that it could not apply: it is not
    swapped then. Events that were skipped (`meshline view skip`) are left out again.

    \b
    Examples:
      meshline view rebuild ownership
      meshline view rebuild runs ownership exceptions --throttle 5000
      meshline view rebuild ownership --output jsonl
    """
    projections = [declared(name) for name in dict.fromkeys(names)]
    from meshline.projections.rebuild import Rebuild

    async with call.log() as log:
        work = Rebuild(log, call.place.views, projections, events_per_s_max=throttle)
        async with aclosing(work.run()) as running:
            await _show(call, running, "Rebuilding")
    if work.cancelled:
        call.out.say("Cancelled: the new build is gone, what is live is as it was.")
        end(Exit.FAILED)
    await _say_built(call, [*work.builds.values()])


async def _say_built(call: Call, builds: Sequence[Build]) -> None:
    """Say what is next for each build; fail if one of them could not take in every event."""
    async with builds_at(call) as books:
        parked = {(s.name, s.version, s.build): s.parked for s in await books.statuses()}
    for build in builds:
        if not parked.get(build, 0):
            call.out.say(
                f"Built {build}. What differs: meshline view diff {build.name}. "
                f"Make it live: meshline view swap {build.name}"
            )
            continue
        call.out.say(
            f"Built {build}, which could not apply {parked[build]:,} events and those behind them:"
            f" expected none, so it will not be swapped. See why: meshline view parked "
            f"{build.name}. Correct the projection and rebuild it, or leave them out: meshline "
            f"view skip {build.name}"
        )
    if any(parked.get(build, 0) for build in builds):
        end(Exit.FAILED)


async def _show(call: Call, running: AsyncIterator[Progress], label: str) -> None:
    if call.out.form is not Form.text:
        with call.out.stream(live=True) as emit:
            async for progress in running:
                emit(progress)
        return
    with Bar(call.out, label, None) as bar:
        clock = asyncio.get_running_loop().time
        say_at, done, said = clock() + SAY_EACH_S, 0, ""
        async for progress in running:
            bar.advance(max(0, progress.done - done), total=progress.total)
            done = progress.done
            words = progress.error or ("Paused." if progress.paused else "")
            if words and words != said:
                bar.say(words)
            said = words
            if not bar.is_shown and not words and clock() >= say_at:
                say_at = clock() + SAY_EACH_S
                call.out.say(progress_text(label, progress))


def progress_text(label: str, progress: Progress) -> str:
    """Return a line about it, for where nothing can move."""
    left = "" if progress.eta_s is None else f", {progress.eta_s:,.0f} s left"
    part = progress.done / max(progress.total, 1)
    return (
        f"{label}: {progress.done:,} of {progress.total:,} events ({part:.0%}), "
        f"{progress.rate:,.0f}/s{left}"
    )


async def verify(call: Call, name: Name, throttle: Throttle = None) -> None:
    """Build a view anew beside the live one, compare them, and drop it again.

    Both are compared at the same positions of the log. The exit code is 1 if they differ.

    \b
    Examples:
      meshline view verify ownership
      meshline view verify runs --throttle 2000 --output json
    """
    projection = declared(name)
    from meshline.projections.rebuild_verify import Verification

    async with call.log() as log:
        check = Verification(log, call.place.views, projection, events_per_s_max=throttle)
        async with aclosing(check.run()) as running:
            await _show_words_only(call, running)
    verdict = check.verdict
    assert verdict is not None, "a verification that ends has compared"
    call.out.thing(_as_data(verdict), lambda: "\n".join(_verdict_lines(verdict)))
    if verdict.different:
        end(Exit.FAILED)


async def _show_words_only(call: Call, running: AsyncGenerator[Progress]) -> None:
    """Progress is no data here: the verdict is."""
    with Bar(call.out, "Verifying", None) as bar:
        done = 0
        async for progress in running:
            bar.advance(max(0, progress.done - done))
            done = progress.done


def _as_data(verdict: Verdict) -> dict[str, Any]:
    return {
        "view": verdict.view,
        "equal": verdict.different == 0,
        "rows": verdict.rows,
        "different": verdict.different,
        "positions": verdict.positions,
        "samples": [
            {"table": s.table, "key": s.key, "live": s.here, "rebuilt": s.there}
            for s in verdict.samples
        ],
    }


def _verdict_lines(verdict: Verdict) -> list[str]:
    if not verdict.different:
        return [f"{verdict.view}: equal, {verdict.rows:,} rows compared."]
    lines = [f"{verdict.view}: {verdict.different:,} of {verdict.rows:,} rows differ. The first:"]
    for sample in verdict.samples:
        key = ", ".join(map(str, sample.key))
        if sample.here is None:
            lines.append(f"  {sample.table} {key}: missing in the live view")
        elif sample.there is None:
            lines.append(f"  {sample.table} {key}: only in the live view")
        else:
            lines += [
                f"  {sample.table} {key}: {column} is {live!r}, should be {right!r}"
                for column, (live, right) in sample.fields().items()
            ]
    return lines


async def pause(call: Call, name: Name) -> None:
    """Let the rebuild of a view rest; its process waits.

    \b
    Examples:
      meshline view pause ownership
    """
    is_at_work = await _wish(call, name, "pause")
    go_on = "resume" if is_at_work else "rebuild"
    rest = "" if is_at_work else " No process is at work on it."
    call.out.say(f"Paused.{rest} To go on: meshline view {go_on} {name}")


async def resume(call: Call, name: Name) -> None:
    """Let a rebuild that was paused go on.

    \b
    Examples:
      meshline view resume ownership
    """
    if await _wish(call, name, "run"):
        call.out.say("It goes on.")
        return
    call.out.say(
        f"No process is at work on it, so it does not go on: start one with "
        f"`meshline view rebuild {name}`."
    )
    end(Exit.FAILED)


async def cancel(call: Call, name: Name) -> None:
    """Stop the rebuild of a view, and drop what it has built. What is live stays as it is.

    \b
    Examples:
      meshline view cancel ownership
    """
    from meshline.projections.build_choice import build_under_way

    async with builds_at(call) as books:
        build = await build_under_way(books, name)
        await books.wish(build, "cancel")
        is_at_work = await books.has_writer(build)
        if not is_at_work:
            await books.discard(build)
    call.out.say("Its process will drop it at once." if is_at_work else f"Dropped {build}.")


async def _wish(call: Call, name: str, wish: Wish) -> bool:
    """Ask this of the view's rebuild; return whether a process is there to hear it."""
    from meshline.projections.build_choice import build_under_way

    async with builds_at(call) as books:
        build = await build_under_way(books, name)
        await books.wish(build, wish)
        return await books.has_writer(build)
