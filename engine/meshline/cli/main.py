"""The command ``meshline``: finds the module of a noun and hands over to it.

Nothing else is imported until it is known which one is wanted: ``meshline --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from meshline.cli.exits import MEANINGS, Exit, exit_of
from meshline.cli.nouns import NOUNS

if TYPE_CHECKING:
    from meshline.events.errors import MeshlineError

__all__ = ["main", "run"]

_INTRODUCTION = """\
Usage: meshline COMMAND …

Takes a signal from a source system, runs the steps that it calls for, and can always say
what happened, who owns it now, what went wrong and what comes next.
"""

_CLOSING = """\
Begin here:
  meshline demo                             see it work
  meshline dev examples/lead_intake.py      run a workflow on this machine
  meshline run list --help                  every command has examples in its help

Where the log and the views are: --log and --views, or MESHLINE_LOG and MESHLINE_VIEWS, or what
`meshline dev` left in .meshline/. Or a server: --server or MESHLINE_SERVER, and MESHLINE_KEY.
Data goes to stdout (--output text, json or jsonl), words to stderr. `meshline help exit-codes`
lists how commands end.
"""


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Carry out a command line without its first word, and return the exit code."""
    word, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if word == "help" and rest:
        word, rest = (rest[0], ["--help"]) if rest[0] != "exit-codes" else (rest[0], [])
    if word in ("", "-h", "--help", "help"):
        print(_help(), end="")
        return Exit.OK if word else Exit.USAGE
    if word == "--version":
        from importlib.metadata import version

        print(f"meshline {version('meshline')}")
        return Exit.OK
    if word == "exit-codes":
        for code, meaning in MEANINGS.items():
            print(f"{code:>5}  {meaning}")
        return Exit.OK
    if word not in NOUNS:
        return _unknown(word)
    return _hand_over(word, rest)


def _help() -> str:
    lines = [_INTRODUCTION]
    section = ""
    for noun in NOUNS.values():
        if noun.section != section:
            section = noun.section
            lines.append(f"{section}:" if len(lines) == 1 else f"\n{section}:")
        lines.append(f"  {noun.name:<10} {noun.about}")
    return "\n".join(lines) + "\n\n" + _CLOSING


def _unknown(word: str) -> Exit:
    from difflib import get_close_matches

    close = get_close_matches(word, NOUNS, n=1)
    hint = f"Did you mean `meshline {close[0]}`?" if close else "`meshline --help` lists them."
    print(f"meshline: there is no command {word!r}. {hint}", file=sys.stderr)
    return Exit.USAGE


def _hand_over(word: str, rest: list[str]) -> int:
    debug = "--debug" in rest or bool(os.environ.get("MESHLINE_DEBUG"))
    if not debug:
        # It says the same of every try, hundreds of times; our own error says it once.
        _hush("aiokafka")
    try:
        from importlib import import_module

        module = import_module(f"meshline.cli.{NOUNS[word].module}")
        module.app(args=rest, prog_name=f"meshline {word}")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Exit.OK
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:
        return _explain(error, debug)
    return Exit.OK


def _hush(library: str) -> None:
    import logging

    logging.getLogger(library).addHandler(logging.NullHandler())


def _explain(error: Exception, debug: bool) -> Exit:
    from meshline.cli.tables import harmless
    from meshline.events.errors import MeshlineError

    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, MeshlineError):
        said = harmless("\n  ".join([f"meshline: {error}", *_notes(error)]))
        print(said, file=sys.stderr)
        return exit_of(error.code)
    hint = "" if debug else " Run it again with --debug to see where, and tell us."
    print(
        harmless(f"meshline: a mistake in Meshline: {type(error).__name__}: {error}.{hint}"),
        file=sys.stderr,
    )
    return Exit.FAILED


def _notes(error: MeshlineError) -> list[str]:
    return list(getattr(error, "__notes__", ()))


if __name__ == "__main__":
    main()
