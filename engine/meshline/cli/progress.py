"""How far a long command is: a bar on stderr where a person watches, and nothing elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from meshline.cli.output import Output

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["Progress"]

SHOWN_FROM = 50
"""Below so many there is nothing to watch."""


class Progress:
    """A context in which ``advance`` is called for each item that is done.

    Args:
        label: what is done with each: ``Published``.
        total: how many there will be; None where nobody knows.
    """

    def __init__(self, out: Output, label: str, total: int | None) -> None:
        self._out = out
        self._label = label
        self._total = total
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        is_long = self._total is None or self._total >= SHOWN_FROM
        # Lines of data in the same terminal say it already, and would tear the bar apart.
        is_quiet = not self._out.stdout.isatty()
        if self._out.is_interactive and is_long and is_quiet:
            self._start()
        return self

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(file=self._out.stderr),
            transient=True,
        )
        self._task = self._bar.add_task(self._label, total=self._total, rate="")
        self._bar.start()

    def advance(self, count: int = 1) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, count)
            speed = self._bar.tasks[self._task].speed
            if speed:
                self._bar.update(self._task, rate=f"{speed:,.0f}/s")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
