"""``meshline directory``: users, teams, roles and queues, out of a file into the log."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from meshline.cli.call import Call, command, end, group
from meshline.cli.errors import CommandRefused
from meshline.cli.everywhere import ask_everywhere
from meshline.cli.exits import Exit
from meshline.cli.tables import Column
from meshline.events.directory import Directory, Roster, difference, hash_of, problems_of
from meshline.events.people_requests import DirectoryChangeRequested

if TYPE_CHECKING:
    from meshline.projections.directory_view import DirectoryRow

__all__ = ["app"]

app = group("The directory: users, teams, roles and queues, and who is in what.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="The directory as TOML.")]

COLUMNS = (
    Column("principal", lambda e: e["principal"], whole=True),
    Column("name", lambda e: e["name"]),
    Column("members", lambda e: ", ".join(e["members"])),
    Column("is in", lambda e: ", ".join(e["is_in"])),
)


@command(app, where=False)
async def check(call: Call, file: File) -> None:
    """Say what is wrong with a directory in a file; the exit code is 1 if anything is.

    \b
    Examples:
      meshline directory check people.toml
    """
    directory = read_directory(file)
    problems = problems_of(directory)
    found = {**_counts(directory), "problems": problems}
    call.out.thing(found, lambda: "\n".join(problems) or f"{file} is in order: {_text(directory)}.")
    end(Exit.FAILED if problems else Exit.OK)


@command(app, asks=True)
async def apply(
    call: Call,
    file: File,
    yes: Annotated[bool, typer.Option("--yes", help="Apply it; else only show it.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it stands in the log.")] = "",
) -> None:
    """Make the directory in a file the one that counts; show the difference first.

    Every partition is asked, and decides by it from its answer on. Where some did not answer, the
    same command asks them again.

    \b
    Examples:
      meshline directory apply people.toml
      meshline directory apply people.toml --yes --reason "Bob joined the sales leads"
    """
    directory = read_directory(file)
    problems = problems_of(directory)
    if problems:
        raise CommandRefused(
            f"{file} can't be the directory: {'; '.join(problems)}. Correct it: "
            f"`meshline directory check {file}` says when it is in order."
        )
    async with call.views() as views:
        row = await views.directory()
        taken = {p.partition: p for p in await views.directory_partitions()}
    number, found = (0, "") if row is None else (row.number, row.directory_hash)
    lines = difference(None if row is None else _directory_of(row), directory)
    async with call.log() as log:
        partitions = [*range(log.identity.partitions)]
    if row is not None and hash_of(directory) == found:
        missing = [
            p for p in partitions if p not in taken or taken[p].directory_hash != found
        ]  # fmt: skip
        call.out.say(f"This is the directory already, number {number}.")
        if not missing:
            return
        call.out.say(f"Partitions without it: {', '.join(map(str, missing))}.")
        number, partitions = number - 1, missing
    for line in lines:
        call.out.say(line)
    if not yes:
        call.out.say("Nothing was done: say --yes to apply it.")
        end(Exit.USAGE)
    request = DirectoryChangeRequested(number=number + 1, directory=directory, reason=reason)
    await ask_everywhere(call, "directory", request, partitions, settled=("unchanged",))


@command(app, past=True)
async def show(
    call: Call,
    who: Annotated[
        str | None, typer.Argument(metavar="PRINCIPAL", help="user:, team:, role: or queue:NAME")
    ] = None,
) -> None:
    """Show who there is and who is in what: all, or one user, team, role or queue.

    \b
    Examples:
      meshline directory show
      meshline directory show user:ada           which teams and roles she has
      meshline directory show role:sales-lead --as-of "2026-11-17 14:05"
    """
    row = await _directory_seen(call)
    if row is None:
        call.out.say("There is no directory: everybody is taken at their word.")
        return
    roster = Roster(_directory_of(row))
    entries = _entries(roster)
    if who is not None:
        entries = [each for each in entries if each["principal"] == who]
        if not entries:
            from meshline.projections.errors import NotFound

            raise NotFound(
                f"There is no {who!r} in the directory: expected one of those that "
                "`meshline directory show` lists."
            )
    call.out.say(f"Number {row.number}, by {row.actor}, {row.changed_at:%Y-%m-%d %H:%M} UTC.")
    call.out.rows(entries, COLUMNS, empty="The directory is empty.")


async def _directory_seen(call: Call) -> DirectoryRow | None:
    if call.moment is None:
        async with call.views() as views:
            return await views.directory()
    from meshline.projections.as_of_queries import people_as_of

    async with call.log() as log, call.kept() as kept:
        return (await people_as_of(log, call.moment, kept))[0]


def read_directory(file: Path) -> Directory:
    """Return the directory in a file; what can't be read as one is refused with the reason."""
    try:
        return Directory.model_validate(tomllib.loads(file.read_text("utf-8")))
    except OSError as error:
        raise typer.BadParameter(f"{str(file)!r}: {error.strerror}", param_hint="FILE") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandRefused(
            f"{file} is no TOML: {error}. Expected tables such as [users.ada] and "
            '[teams.revops] with members = ["user:ada"]. Correct it.'
        ) from None
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5]
        )  # fmt: skip
        raise CommandRefused(
            f"{file} is no directory: {found}. Expected [users.NAME] with name and email, and "
            "[teams.NAME], [roles.NAME] or [queues.NAME] with name and members. Correct it."
        ) from None


def _directory_of(row: DirectoryRow) -> Directory:
    return Directory.model_validate(row.directory)


def _entries(roster: Roster) -> list[dict[str, Any]]:
    directory = roster.directory
    users = [(f"user:{name}", person.name, ()) for name, person in directory.users.items()]
    groups = [(principal, group.name, group.members) for principal, group in directory.groups()]
    return [
        {
            "principal": principal,
            "name": name,
            "members": list(members),
            "is_in": sorted(roster.roles_of(principal) - {principal}),
        }
        for principal, name, members in (*users, *groups)
    ]


def _counts(directory: Directory) -> dict[str, int]:
    return {
        kind: len(getattr(directory, kind)) for kind in ("users", "teams", "roles", "queues")
    }  # fmt: skip


def _text(directory: Directory) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in _counts(directory).items())
