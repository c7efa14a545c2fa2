"""Which build of a view is meant: the one under way, the one to swap to, the one to go back to."""

from __future__ import annotations

from collections.abc import Callable

from meshline.projections.errors import NotFound, NotSwappable
from meshline.projections.postgres_builds import Build, Builds
from meshline.projections.store import ViewStatus

__all__ = ["build_before", "build_to_swap_to", "build_under_way"]


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
