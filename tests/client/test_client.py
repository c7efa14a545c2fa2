"""The client: what a program does with a Meshline that is elsewhere."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from meshline.client import Meshline, ServerRefused, ServerUnreachable
from meshline.events.publish import Trigger
from meshline.events.requests import PauseRequested
from meshline.projections.errors import NotFound
from meshline.workflow.registry import Registry
from tests.api.installation import installed
from tests.api.leads import SOURCE, leads

ADA = {"email": "ada@example.org", "company": "Acme", "employees": 900}


@pytest.mark.postgres
async def test_a_program_publishes_waits_decides_and_reads_what_happened(
    postgres_address: str,
) -> None:
    async with installed(postgres_address, Registry(leads)) as installation:
        _, key = await installation.keys.create("user:ada", ["admin"], made_by="user:test")
        async with Meshline("http://localhost", key, transport=installation.transport) as meshline:
            small = [Trigger(SOURCE, ADA | {"employees": 3}, f"S-{n}") for n in range(100)]
            answers = [a async for a in meshline.publish_many(small, wait_s=30)]
            first = await meshline.publish(SOURCE, ADA, trigger_id="F-1")
            refused = await meshline.publish(SOURCE, {"email": 1}, trigger_id="F-2")
            run = await meshline.wait(f"{SOURCE}/F-1", until=["waiting"], timeout_s=20)
            paused = await meshline.ask(run.run_id, PauseRequested(reason="lunch"), key="P-1")
            again = await meshline.ask(run.run_id, PauseRequested(reason="lunch"), key="P-1")
            late = await meshline.ask(run.run_id, PauseRequested(reason="lunch"))
            await meshline.cancel(run.run_id, reason="enough")
            done = await meshline.wait(run.run_id, timeout_s=20)
            history = await meshline.history(run.run_id)
            found = [row.trigger_id async for row in meshline.runs(workflow="leads")]
            with pytest.raises(NotFound):
                await meshline.run("ffff")
            with pytest.raises(ServerRefused) as stale:
                await meshline.ask(run.run_id, PauseRequested(), if_match='"0"')

    assert [a.trigger_id for a in answers] == [t.trigger_id for t in small]
    assert {a.status for a in answers} == {"accepted"}
    assert (first.status, refused.status) == ("accepted", "rejected")
    assert refused.problems[0].pointer
    assert (paused, late.status, late.code) == (again, "rejected", "already_paused")
    assert (run.state, done.state, done.reason) == ("waiting", "cancelled", "enough")
    assert history[0].type == "meshline.trigger.received.v1"
    assert history[-1].type == "meshline.run.cancelled.v1"
    assert len(found) == len(set(found)) == 101
    assert stale.value.code == "ML6006"


class Flaky:
    """A server that has no time at first, and whose answer is lost once."""

    def __init__(self) -> None:
        self.seen: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        if len(self.seen) == 1:
            return httpx.Response(503, json={"code": "too_busy"}, headers={"Retry-After": "0"})
        if len(self.seen) == 2:
            raise httpx.ReadError("the line broke")
        body = {"status": "accepted", "run_id": "r", "position": "1:2"}
        return httpx.Response(202, json=body)


async def test_what_has_no_answer_is_asked_again_with_the_same_key() -> None:
    server = Flaky()
    async with Meshline("http://m", "k", transport=httpx.MockTransport(server)) as meshline:
        answer = await meshline.ask("r", PauseRequested(reason="lunch"))

    assert answer.status == "accepted"
    keys = {request.headers["idempotency-key"] for request in server.seen}
    assert (len(server.seen), len(keys)) == (3, 1)


async def test_a_server_that_never_answers_is_told() -> None:
    async def dead(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    transport: Any = httpx.MockTransport(dead)
    async with Meshline("http://m", "k", tries_max=2, transport=transport) as meshline:
        with pytest.raises(ServerUnreachable, match="2 tries"):
            await meshline.run("r")
