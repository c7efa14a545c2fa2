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
        beside_data: data are written meanwhile. In the same terminal they say it already, and
            would tear the bar apart.
    """

    def __init__(
        self, out: Output, label: str, total: int | None, *, beside_data: bool = False
    ) -> None:
        self._out = out
        self._label = label
        self._total = total
        self._beside_data = beside_data
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        is_long = self._total is None or self._total >= SHOWN_FROM
        is_torn = self._beside_data and self._out.stdout.isatty()
        if self._out.is_interactive and is_long and not is_torn:
            self._start()
        return self

    @property
    def is_shown(self) -> bool:
        return self._bar is not None

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

    def advance(self, count: int = 1, *, total: int | None = None) -> None:
        """So many more are done; ``total`` where there are more to do than was said."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=count, total=total)
            speed = self._bar.tasks[self._task].speed
            if speed:
                self._bar.update(self._task, rate=f"{speed:,.0f}/s")

    def say(self, words: str) -> None:
        """Words for people, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(words, markup=False, highlight=False)
        else:
            self._out.say(words)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
