"""How commands are declared, and what each of them is handed: a ``Call``.

A command is a coroutine whose first parameter is the call; its other parameters are its own
arguments and options. The options that many commands share are added here, once.
"""

from __future__ import annotations

import asyncio
import functools
import getpass
import inspect
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, get_args, get_type_hints

import typer

from meshline.cli.as_of import By, masked, moment_typed
from meshline.cli.errors import CommandRefused, NoLogHere
from meshline.cli.exits import Exit
from meshline.cli.output import Form, Output
from meshline.cli.place import Given, Place, find_place, shown
from meshline.events.clock import Clock, SystemClock
from meshline.events.errors import MeshlineError

if TYPE_CHECKING:
    from meshline.client import Connection
    from meshline.events.envelope import Actor
    from meshline.events.log import EventLog
    from meshline.events.publish import Publisher
    from meshline.projections.as_of import Moment
    from meshline.projections.masking import Definitions
    from meshline.projections.queries import Views
    from meshline.projections.snapshots import KeptViews

__all__ = ["Call", "command", "end", "group", "known_words", "seconds"]

P = ParamSpec("P")
Command = Callable[Concatenate["Call", P], Awaitable[None]]

WAIT_S = 10.0
"""For the answer to a request, from the moment that it is in the log."""

_ACTOR = re.compile(r"(user|service):[^\s:]\S{0,199}")
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass
class Call:
    """What the shared options of a command line say."""

    given: Given
    out: Output
    acting_as: str | None = None
    wait_s: float | None = None
    clock: Clock = field(default_factory=SystemClock)
    moment: Moment | None = None

    @functools.cached_property
    def place(self) -> Place:
        """Where the log and the views are; closed when the command ends."""
        if self.given.server is not None:
            raise CommandRefused(
                f"This is not asked of a server, and {self.given.server} is named: expected the "
                "log or the views themselves. Type --log and --views, or unset MESHLINE_SERVER."
            )
        return find_place(self.given)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """The line to the server that was named."""
        from meshline.client import Connection

        server, key = self.given.server, self.given.key
        assert server is not None
        if key is None:
            raise CommandRefused(
                f"{server} wants a key: expected MESHLINE_KEY, or MESHLINE_KEY_FILE, which names a "
                "file with it. `meshline key create` makes one, where the views are."
            )
        async with Connection(server, key) as connection:
            yield connection

    def close(self) -> None:
        if "place" in self.__dict__:
            self.place.close()

    @functools.cached_property
    def actor(self) -> Actor:
        """Who asks: the operating system's user, or whom ``--as`` names."""
        from meshline.events.envelope import Actor

        who = self.acting_as or f"user:{getpass.getuser()}"
        return Actor(who.partition(":")[0], who)

    @asynccontextmanager
    async def log(self) -> AsyncIterator[EventLog]:
        """The log, opened; it must be there."""
        from meshline.events.log import open_log

        log = open_log(self.place.log)
        await log.open()
        try:
            yield log
        finally:
            await log.aclose()

    @asynccontextmanager
    async def publisher(self) -> AsyncIterator[Publisher]:
        """A publisher on the log, in the name of who asks; or over the server, as its key says."""
        if self.given.server is not None:
            from meshline.client import RemotePublisher

            async with self.connection() as connection:
                yield RemotePublisher(connection)
            return
        from meshline.events.publish import Publisher

        async with self.log() as log, Publisher(log, actor=self.actor) as publisher:
            yield publisher

    @asynccontextmanager
    async def views(self) -> AsyncIterator[Views]:
        """The views, to be shown: here, where secrets are masked, or over the server."""
        if self.given.server is not None:
            from meshline.client import RemoteViews

            async with self.connection() as connection:
                yield RemoteViews(connection, self.moment)
            return
        async with self.whole_views() as views:
            yield masked(views, views)

    @asynccontextmanager
    async def whole_views(self) -> AsyncIterator[Views]:
        """The views here with all that is in them: to act on, and for what masks it itself."""
        from meshline.projections.queries import Views

        views = Views(self.place.views)
        try:
            with _explained(self.place):
                yield views
        finally:
            await views.aclose()

    async def definitions(self) -> Definitions:
        """Return what the views here know of definitions: nothing where there are no views."""
        from meshline.projections.masking import Definitions

        try:
            async with self.whole_views() as views:
                return Definitions(await views.workflows())
        except MeshlineError:
            return Definitions([])

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[KeptViews | None]:
        """What is kept of the views to look at the past, if anybody says where they are."""
        from meshline.projections.postgres_snapshots import PostgresSnapshots

        try:
            kept = PostgresSnapshots(self.place.views)
        except NoLogHere:
            yield None
            return
        try:
            yield kept
        finally:
            await kept.aclose()


_NOT_THERE = ("UndefinedTableError", "InvalidSchemaNameError")
"""What the client library says of tables that nobody has made yet; it is not imported here."""


@contextmanager
def _explained(place: Place) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if type(error).__name__ not in _NOT_THERE:
            raise
        raise NoLogHere(
            f"There are no views at {shown(place.views)} yet: expected those that a projector "
            "makes. Start `meshline projector` (or `meshline dev`) with the same addresses."
        ) from error


def group(help_text: str) -> typer.Typer:
    """Return the app of a noun; its commands are added with ``command``."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=_SETTINGS,
    )


def end(code: Exit) -> None:
    """Leave the command with this exit code, unless it is ``OK``."""
    if code is not Exit.OK:
        raise typer.Exit(int(code))


def command(
    app: typer.Typer,
    name: str | None = None,
    *,
    asks: bool = False,
    where: bool = True,
    data: bool = True,
    past: bool = False,
    runner: Callable[[Awaitable[None]], None] | None = None,
) -> Callable[[Command[P]], Command[P]]:
    """Add a command to the app of its noun.

    Args:
        asks: it appends requests: ``--as`` says who asks, ``--wait`` for how long to wait.
        where: it needs the log or the views: ``--log``, ``--views``, ``--home``.
        data: it writes data: ``--output``.
        past: it can look back: ``--as-of``, ``--as-of-position``, ``--by``; see ``as_of.py``.
        runner: runs the coroutine; ``asyncio.run`` by default.
    """

    def register(function: Command[P]) -> Command[P]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        shared = _shared(asks=asks, past=past, where=where, data=data)

        @functools.wraps(function)
        def start(**values: Any) -> None:
            options = {parameter.name: values.pop(parameter.name) for parameter in shared}
            call = _call(options)
            try:
                (runner or _run)(function(call, **values))  # type: ignore[call-arg]
                sys.stdout.flush()
            except KeyboardInterrupt:
                raise typer.Exit(int(Exit.INTERRUPTED)) from None
            except BrokenPipeError:
                # Who reads our output has had enough (`| head`): that is no failure.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            finally:
                call.close()

        parameters = [*own, *shared]
        start.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        start.__annotations__ = {p.name: p.annotation for p in parameters}
        del start.__wrapped__
        app.command(name)(start)
        return function

    return register


def _run(work: Awaitable[None]) -> None:
    async def main() -> None:
        await work

    asyncio.run(main())


def _shared(*, asks: bool, past: bool, where: bool, data: bool) -> list[inspect.Parameter]:
    chosen = [
        *(_ASKING if asks else ()),
        *(_PAST if past else ()),
        *(_WHERE if where else ()),
        *(_DATA if data else ()),
        *_ALWAYS,
    ]
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, kind, default in chosen
    ]


_ASKING: tuple[tuple[str, Any, Any], ...] = (
    (
        "acting_as",
        Annotated[
            str | None,
            typer.Option("--as", metavar="user:NAME", help="Who asks, if not the user here."),
        ],
        None,
    ),
    (
        "wait",
        Annotated[
            str,
            typer.Option("--wait", metavar="10s", help="How long to wait for the answer; 0s: not."),
        ],
        f"{WAIT_S:g}s",
    ),
)
_PAST: tuple[tuple[str, Any, Any], ...] = (
    (
        "as_of",
        Annotated[
            str | None,
            typer.Option("--as-of", metavar="TIME", help='As it was: "2026-11-17 14:05" (UTC).'),
        ],
        None,
    ),
    (
        "as_of_position",
        Annotated[
            str | None,
            typer.Option(
                "--as-of-position", metavar="3:1234,…", help="As it was there in the log."
            ),
        ],
        None,
    ),
    (
        "by",
        Annotated[
            By | None,
            typer.Option(
                "--by", help="Which time: when it happened (event), or when it was recorded."
            ),
        ],
        None,
    ),
)
_WHERE: tuple[tuple[str, Any, Any], ...] = (
    (
        "log",
        Annotated[
            str | None,
            typer.Option("--log", metavar="ADDRESS", help="postgresql://… or kafka://host:9092/ns"),
        ],
        None,
    ),
    (
        "views",
        Annotated[str | None, typer.Option("--views", metavar="ADDRESS", help="postgresql://…")],
        None,
    ),
    (
        "server",
        Annotated[
            str | None,
            typer.Option("--server", metavar="URL", help="A `meshline serve`, instead of these."),
        ],
        None,
    ),
    (
        "home",
        Annotated[
            Path | None,
            typer.Option("--home", metavar="FOLDER", help="Instead of .meshline in this folder."),
        ],
        None,
    ),
)
_DATA: tuple[tuple[str, Any, Any], ...] = (
    (
        "output",
        Annotated[Form, typer.Option("--output", "-o", help="For people, or for programs.")],
        Form.text,
    ),
)
_ALWAYS: tuple[tuple[str, Any, Any], ...] = (
    ("debug", Annotated[bool, typer.Option("--debug", help="Show where an error arose.")], False),
)


def _call(options: dict[str, Any]) -> Call:
    given = Given.read(
        options.get("log"),
        options.get("views"),
        options.get("home"),
        os.environ,
        options.get("server"),
    )
    acting_as = options.get("acting_as")
    if acting_as is not None and given.server is not None:
        raise typer.BadParameter(
            f"over a server it is the key that says who asks, not {acting_as!r}: take the key of "
            "whom it is to be",
            param_hint="--as",
        )
    if acting_as is not None and not _ACTOR.fullmatch(acting_as):
        raise typer.BadParameter(
            f"{acting_as!r} is nobody who can ask: expected user:NAME or service:NAME",
            param_hint="--as",
        )
    wait_s = None
    if (wait := options.get("wait")) is not None:
        wait_s = WAIT_S if wait == f"{WAIT_S:g}s" else seconds(wait, "--wait") or None
    moment = moment_typed(options.get("as_of"), options.get("as_of_position"), options.get("by"))
    out = Output(options.get("output", Form.text))
    return Call(given, out, acting_as, wait_s, moment=moment)


def known_words(words: Sequence[str] | None, row: type[Any], field: str, option: str) -> None:
    """Refuse words that the field of the rows never holds: they would find nothing, for ever."""
    allowed = get_args(get_type_hints(row)[field])
    for word in words or ():
        if word not in allowed:
            raise typer.BadParameter(
                f"{word!r} is none: expected one of {', '.join(allowed)}", param_hint=option
            )


def seconds(text: str, option: str) -> float:
    """Return the seconds of a duration that was typed; a wrong one is a mistake of usage."""
    from meshline.workflow.durations import seconds_of
    from meshline.workflow.errors import DefinitionRefused

    try:
        return seconds_of(text, option, zero_allowed=True)
    except DefinitionRefused:
        raise typer.BadParameter(
            f'{text!r} is no duration: expected a number and a unit, as in "10s", "1h30m" or "2d"',
            param_hint=option,
        ) from None
