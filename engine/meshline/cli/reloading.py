"""Reloading an app when its code changes; what is broken is told, and the old code goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from watchfiles import Change, awatch

from meshline.events.errors import MeshlineError

if TYPE_CHECKING:
    from meshline.cli.app_code import AppCode
    from meshline.workflow.registry import Registry

__all__ = ["Stamp", "Stamps", "reload_on_change", "stamp_of"]

Stamp = tuple[int, int] | None
Stamps = dict[Path, Stamp]

LOOK_MS = 1_000
"""How often the files are looked at, though nothing was heard of them."""


async def reload_on_change(
    code: AppCode,
    stop: asyncio.Event,
    replaced: Callable[[Registry], None],
    say: Callable[..., None],
) -> None:
    """Load the app anew after each change of its files, until ``stop``.

    Args:
        replaced: is handed the new definitions.
        say: is told what was loaded, or why not.
    """
    stamps = code.stamps
    while changed := await _change_since(stamps, stop):
        try:
            registry = code.load()
        except MeshlineError as error:
            say(f"Not reloaded, the old code goes on: {error}", *getattr(error, "__notes__", ()))
            stamps = {file: stamp_of(file) for file in stamps}
        else:
            stamps = code.stamps
            replaced(registry)
            names = ", ".join(sorted(path.name for path in changed))
            say(f"Reloaded after a change of {names}; runs go on.")


async def _change_since(stamps: Stamps, stop: asyncio.Event) -> set[Path]:
    """Return which of the files changed; none if ``stop`` came first."""
    # Their folders are watched, because editors put a new file in the place of the old one.
    folders = {file.parent for file in stamps}

    def concerns(change: Change, path: str) -> bool:
        return Path(path) in stamps

    async for _ in awatch(
        *folders,
        watch_filter=concerns,
        stop_event=stop,
        debounce=200,
        step=20,
        recursive=False,
        # What changed after it was loaded, and before anybody watched, is seen so.
        rust_timeout=LOOK_MS,
        yield_on_timeout=True,
    ):
        changed = {file for file, stamp in stamps.items() if stamp_of(file) != stamp}
        if changed:
            return changed
    return set()


def stamp_of(file: Path) -> Stamp:
    """A file that was only read or touched the same way again is no change."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size
