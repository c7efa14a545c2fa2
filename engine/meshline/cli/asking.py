"""Requests from the command line: appended to the log, and the keeper's answer told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import typer

from meshline.cli.call import Call, end
from meshline.cli.exits import Exit
from meshline.cli.run_ids import whole_id
from meshline.cli.words import short

if TYPE_CHECKING:
    from meshline.events.publish import RequestAnswer
    from meshline.events.requests import Request

__all__ = ["Asked", "ask", "ask_about", "json_value"]


class Asked(NamedTuple):
    """One request: of which run, what, and about what, as people call it."""

    run_id: str
    request: Request
    about: str


async def ask_about(call: Call, run: str, request: Request) -> None:
    """Append the request about the run that was typed, and tell the answer."""
    run_id = await whole_id(call, run)
    await ask(call, [Asked(run_id, request, f"run {short(run_id)}")])


async def ask(call: Call, requests: Sequence[Asked]) -> None:
    """Append the requests, tell each answer, and end with the exit code of the worst."""
    worst = Exit.OK
    async with call.publisher() as publisher:
        with call.out.stream() as emit:
            for asked in requests:
                answer = await publisher.request(
                    asked.run_id, asked.request, actor=call.actor, wait_s=call.wait_s
                )
                emit(_as_data(asked, answer), _text(asked, answer))
                worst = max(worst, _exit(answer, waited=call.wait_s is not None))
    if worst is Exit.UNANSWERED:
        call.out.say(
            f"No worker has decided within {call.wait_s:g} s. The request is in the log, and is "
            "decided as soon as a worker runs: start one, or look with `meshline run history`."
        )
    end(worst)


def _as_data(asked: Asked, answer: RequestAnswer) -> dict[str, Any]:
    return {
        "status": answer.status,
        "run_id": answer.run_id,
        "about": asked.about,
        "request": type(asked.request).TYPE,
        "position": str(answer.position),
        "code": answer.code,
        "reason": answer.reason,
    }


def _text(asked: Asked, answer: RequestAnswer) -> str:
    said = f"{answer.status:<8}  {asked.about}"
    return f"{said}  {answer.code}: {answer.reason}" if answer.status == "rejected" else said


def _exit(answer: RequestAnswer, *, waited: bool) -> Exit:
    if answer.status == "rejected":
        return Exit.REFUSED
    return Exit.UNANSWERED if answer.status == "appended" and waited else Exit.OK


def json_value(text: str | None, option: str) -> Any:
    """Return the JSON value that was typed; what is no JSON is a mistake of usage."""
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"{text!r} is no JSON: {error}", param_hint=option) from None
