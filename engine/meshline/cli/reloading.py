"""Reloading an app when its code changes; what is broken is told, and the old code goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from watchfiles import Change, awatch

from meshline.events.errors import MeshlineError
from meshline.workflow.loading import App

if TYPE_CHECKING:
    from meshline.workflow.registry import Registry

__all__ = ["reload_on_change"]


async def reload_on_change(
    target: App, stop: asyncio.Event, replaced: Callable[[Registry], None], say: Callable[..., None]
) -> None:
    """Load the app anew after each change of its files, until ``stop``.

    Args:
        replaced: is handed the new definitions.
        say: is told what was loaded, or why not.
    """
    while not stop.is_set():
        files = {file.resolve() for file in target.files}
        changed = await _change_of(files, stop)
        if not changed:
            return
        try:
            registry = target.load()
        except MeshlineError as error:
            say(f"Not reloaded, the old code goes on: {error}", *getattr(error, "__notes__", ()))
        else:
            replaced(registry)
            names = ", ".join(sorted(path.name for path in changed))
            say(f"Reloaded after a change of {names}; runs go on.")


async def _change_of(files: set[Path], stop: asyncio.Event) -> set[Path]:
    """Return which of the files changed next; none if ``stop`` came first."""
    # Their folders are watched, because editors put a new file in the place of the old one.
    folders = {file.parent for file in files}
    known = {file: _stamp(file) for file in files}

    def concerns(change: Change, path: str) -> bool:
        return Path(path) in files

    async for changes in awatch(
        *folders, watch_filter=concerns, stop_event=stop, debounce=200, step=20, recursive=False
    ):
        changed = {Path(path) for _, path in changes}
        if any(_stamp(file) != known[file] for file in changed):
            return changed
    return set()


def _stamp(file: Path) -> tuple[int, int] | None:
    """A file that was only read or touched the same way again is no change."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size
