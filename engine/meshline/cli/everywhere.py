"""One request to every partition: for what each of them must know for its own decisions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from meshline.cli.call import Call, end
from meshline.cli.exits import Exit

if TYPE_CHECKING:
    from meshline.events.publish import Publisher, RequestAnswer
    from meshline.events.requests import Request

__all__ = ["ask_everywhere"]


async def ask_everywhere(
    call: Call,
    subject: str,
    request: Request,
    partitions: Iterable[int] | None = None,
    *,
    settled: Sequence[str] = (),
) -> None:
    """Append the request to the partitions, tell each answer, and end as the worst of them.

    Args:
        partitions: None: all of them.
        settled: codes of refusals that say that it is so already.
    """
    async with _publisher(call) as publisher:
        answers = await publisher.request_everywhere(
            subject, request, actor=call.actor, partitions=partitions, wait_s=call.wait_s
        )
    worst = Exit.OK
    with call.out.stream() as emit:
        for answer in answers:
            is_settled = answer.status == "rejected" and answer.code in settled
            status = "accepted" if is_settled else answer.status
            emit(_as_data(answer, status), _text(answer, status))
            if status == "rejected":
                worst = max(worst, Exit.REFUSED)
            elif status == "appended" and call.wait_s is not None:
                worst = max(worst, Exit.UNANSWERED)
    if worst is Exit.UNANSWERED:
        call.out.say(
            f"Not every partition has decided within {call.wait_s:g} s. The requests are in the "
            "log, and are decided as soon as a worker runs: start one."
        )
    end(worst)


@asynccontextmanager
async def _publisher(call: Call) -> AsyncIterator[Publisher]:
    """A publisher as the call's own, but of what is as large as a directory."""
    from meshline.events.directory import DIRECTORY_BYTES_MAX
    from meshline.events.gate import Gate
    from meshline.events.publish import Publisher

    if call.given.server is not None:
        async with call.publisher() as publisher:
            yield publisher
        return
    gate = Gate(payload_bytes_max=2 * DIRECTORY_BYTES_MAX)
    async with (
        call.log() as log,
        Publisher(log, gate=gate, actor=call.actor, clock=call.clock) as publisher,
    ):
        yield publisher


def _as_data(answer: RequestAnswer, status: str) -> dict[str, Any]:
    return {
        "status": status,
        "partition": answer.position.partition,
        "position": str(answer.position),
        "code": answer.code,
        "reason": answer.reason,
    }


def _text(answer: RequestAnswer, status: str) -> str:
    said = f"{status:<8}  partition {answer.position.partition}"
    return f"{said}  {answer.code}: {answer.reason}" if status == "rejected" else said
