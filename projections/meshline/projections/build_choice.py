"""Which build of a view is meant: the one under way, the one to swap to, the one to go back to."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from meshline.projections.errors import NotFound, NotSwappable
from meshline.projections.postgres_builds import Build, Builds
from meshline.projections.store import ViewStatus

__all__ = [
    "Sides",
    "both_of",
    "build_before",
    "build_to_swap_to",
    "build_under_way",
    "sides_of_last_swap",
]


class Sides(NamedTuple):
    """Two builds of a view, as ``diff_view`` takes them: ``2.1`` is build 1 of version 2."""

    old: str
    new: str


async def build_under_way(books: Builds, name: str) -> Build:
    """Return the build of the view that is being loaded.

    Raises:
        NotFound: there is none.
    """
    return await _newest(books, name, lambda s: s.bulk, "that is being rebuilt")


async def build_to_swap_to(
    books: Builds, name: str, version: int | None = None, build: int | None = None
) -> Build:
    """Return the newest loaded build of the view, or the one that is named, that is not live.

    Raises:
        NotFound: there is none.
        NotSwappable: there is one, but it is not loaded yet.
    """

    def fits(status: ViewStatus) -> bool:
        return (
            status.state != "live"
            and not status.bulk
            and version in (None, status.version)
            and build in (None, status.build)
        )

    return await _newest(books, name, fits, "to swap to")


async def build_before(books: Builds, name: str) -> Build:
    """Return the build of the view that was live before the present one.

    Raises:
        NotFound: there is none.
    """
    changes = [c for c in await books.history(name) if c.what in ("swap", "rollback")]
    if not changes or changes[-1].from_version is None or changes[-1].from_build is None:
        raise NotFound(
            f"The view {name!r} was never swapped: expected a build to go back to. See "
            "`meshline view list --history`."
        )
    return Build(name, changes[-1].from_version, changes[-1].from_build)


async def sides_of_last_swap(books: Builds, name: str) -> Sides | None:
    """Return what the last swap or rollback was from and to; None where one is not there."""
    changes = [c for c in await books.history(name) if c.what in ("swap", "rollback")]
    present = {
        f"{s.version}.{s.build}"
        for s in await books.statuses()
        if s.name == name and s.state != "retired" and not s.scratch
    }
    if not changes:
        return None
    last = changes[-1]
    sides = Sides(f"{last.from_version}.{last.from_build}", f"{last.to_version}.{last.to_build}")
    return sides if {*sides} <= present else None


def both_of(name: str, sides: Sides | None) -> Sides:
    """Return the two.

    Raises:
        NotFound: they are not there.
    """
    if sides is None:
        raise NotFound(
            f"The view {name!r} was never swapped, or what was live before is retired: expected "
            "both builds. See `meshline view list --history`."
        )
    return sides


async def _newest(
    books: Builds, name: str, which: Callable[[ViewStatus], bool], words: str
) -> Build:
    present = [s for s in await books.statuses() if not s.scratch and s.state != "retired"]
    found = [s for s in present if s.name == name and which(s)]
    if not found and (loading := [s for s in present if s.name == name and s.bulk]):
        build = Build(name, loading[-1].version, loading[-1].build)
        raise NotSwappable(
            f"{build} is not loaded yet: expected a build of {name!r} {words}. Let "
            f"`meshline view rebuild {name}` end first; see `meshline view list`."
        )
    if not found:
        raise NotFound(
            f"There is no build of {name!r} {words}: see `meshline view list`, or make one with "
            f"`meshline view rebuild {name}`."
        )
    newest = max(found, key=lambda s: (s.version, s.build))
    return Build(newest.name, newest.version, newest.build)
