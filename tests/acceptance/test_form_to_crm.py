"""From a form to the next system, over HTTP alone: Kafka, two workers, a projector and a server.

Every process is one that people start (``meshline worker`` …), and the two systems outside are
here. Each run's history is read back, with who did what, and told as a story.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request

from meshline.cli.serve import listening
from tests.acceptance.support.places import Place

pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.postgres]

APP = Path(__file__).parent / "support" / "form_to_crm.py"
LIMIT_S = 120.0

PEOPLE = """
[users]
ada = {}
bob = {}
dora = {}
olga = {}
root = {}

[roles.sales-lead]
members = ["user:ada", "user:bob"]

[roles.director]
members = ["user:dora"]

[roles.admin]
members = ["user:root"]
"""

KEYS = {
    "service:web": ["source"],
    "user:ada": ["approver"],
    "user:bob": ["approver"],
    "user:dora": ["approver"],
    "user:olga": ["operator", "auditor"],
}


@dataclass
class Outside:
    """The directory of companies, and the CRM, which honours idempotency keys."""

    companies: dict[str, dict[str, Any]]
    customers: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/companies")
        async def company(name: str) -> dict[str, Any]:
            self.asked.append(name)
            if name not in self.companies:
                raise HTTPException(404)
            return {"name": name} | self.companies[name]

        @app.post("/customers")
        async def create(request: Request) -> dict[str, str]:
            key = request.headers["idempotency-key"]
            self.customers.setdefault(key, await request.json())
            return {"crm_id": f"C-{list(self.customers).index(key) + 1}"}

        return app

    def customer(self, company: str) -> dict[str, Any]:
        (found,) = [each for each in self.customers.values() if each["company"] == company]
        return found


class Process:
    """One ``meshline …`` of its own."""

    def __init__(self, folder: Path, environment: dict[str, str], *words: str) -> None:
        self._output = folder / f"{'-'.join(words[:1])}-{len(list(folder.iterdir()))}.log"
        with self._output.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "meshline.cli.main", *words],
                env=environment,
                stdout=file,
                stderr=file,
            )

    async def said(self, pattern: str) -> re.Match[str]:
        async with asyncio.timeout(LIMIT_S):
            while True:
                text = self._output.read_text("utf-8", "replace")
                if found := re.search(pattern, text):
                    return found
                assert self._process.poll() is None, text
                await asyncio.sleep(0.1)

    def end(self) -> None:
        self._process.terminate()
        assert self._process.wait(30) == 0, self._output.read_text("utf-8", "replace")


@dataclass
class Meshline:
    """A server, and a client for each who asks."""

    address: str
    keys: dict[str, str]
    environment: dict[str, str]

    async def call(
        self, who: str, method: str, path: str, body: Any = None, *, status: int, **query: Any
    ) -> Any:
        headers = {"Authorization": f"Bearer {self.keys[who]}"}
        async with httpx.AsyncClient(base_url=self.address, timeout=LIMIT_S) as client:
            answer = await client.request(method, path, json=body, params=query, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def submit(self, name: str, form: dict[str, Any]) -> str:
        taken = await self.call(
            "service:web", "POST", "/v1/triggers", form, status=202, source="web.forms", id=name
        )
        assert taken["status"] == "accepted"
        return str(taken["run_id"])

    async def run(self, run_id: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the run as soon as it is so."""
        path = f"/v1/runs/{run_id}"
        headers = {"Authorization": f"Bearer {self.keys['user:olga']}"}
        async with (
            asyncio.timeout(LIMIT_S),
            httpx.AsyncClient(base_url=self.address, headers=headers) as client,
        ):
            while True:
                answer = await client.get(path)
                if answer.status_code == 200 and is_so(answer.json()):
                    return dict(answer.json())
                await asyncio.sleep(0.1)

    async def becomes(self, run_id: str, state: str) -> dict[str, Any]:
        return await self.run(run_id, lambda run: run["state"] == state)

    async def asks(self, run_id: str, approval: str) -> None:
        """Return as soon as the run asks people this, and they see it among their work."""
        await self.run(
            run_id, lambda run: any(wait["about"] == approval for wait in run["waits"] or ())
        )

    async def decide(
        self, who: str, run_id: str, approval: str, *, status: int = 202, **body: Any
    ) -> Any:
        path = f"/v1/runs/{run_id}/approvals/{approval}"
        return await self.call(who, "POST", path, body, status=status)

    async def history(self, run_id: str) -> list[dict[str, Any]]:
        """Return a run's events, at least as far as the run itself is shown."""
        path = f"/v1/runs/{run_id}"
        run = await self.call("user:olga", "GET", path, status=200)
        least = f"{run['partition']}:{run['log_offset']}"
        found = await self.call(
            "user:olga", "GET", f"{path}/history", status=200, min_position=least
        )
        return list(found["items"])

    def story(self, run_id: str) -> str:
        """What ``meshline run history`` tells over the server."""
        key = {"MESHLINE_KEY": self.keys["user:olga"]}
        return meshline(
            {**self.environment, **key}, "run", "history", run_id, "--server", self.address
        )


def meshline(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "meshline.cli.main", *words],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@asynccontextmanager
async def installed(place: Place, folder: Path, outside: str) -> AsyncIterator[Meshline]:
    given = {"MESHLINE_LOG": place.log, "MESHLINE_VIEWS": place.views, "MESHLINE_HOME": str(folder)}
    own = {name: value for name, value in os.environ.items() if not name.startswith("MESHLINE_")}
    environment = {**own, **given, "FORM_TO_CRM_SYSTEMS": outside}
    meshline(environment, "log", "create", "--partitions", "2")
    output = folder / "output"
    output.mkdir()
    async with AsyncExitStack() as stack:

        def begin(*words: str) -> Process:
            process = Process(output, environment, *words)
            stack.callback(process.end)
            return process

        workers = [begin("worker", str(APP), "--name", name) for name in ("one", "two")]
        projector = begin("projector")
        server = begin("serve", "--port", "0", "--health-port", "0")
        for worker in workers:
            await worker.said("Ready: holds")
        await projector.said("Projector from")
        address = (await server.said(r"Ready: (http://[^/ ]+)"))[1]
        (folder / "people.toml").write_text(PEOPLE)
        meshline(environment, "directory", "apply", str(folder / "people.toml"), "--yes",
                 "--as", "user:root")  # fmt: skip
        keys = {}
        for actor, roles in KEYS.items():
            words = [word for role in roles for word in ("--role", role)]
            made = meshline(environment, "key", "create", actor, *words, "--output", "json")
            keys[actor] = json.loads(made)["key"]
        yield Meshline(address, keys, environment)


def actors(history: list[dict[str, Any]], kind: str) -> list[str | None]:
    """Who is behind the events of this type, in their order."""
    return [event["actor"] for event in history if event["type"] == f"meshline.{kind}.v1"]


def test_from_a_form_to_the_next_system_and_all_that_can_happen_on_the_way(
    kafka_servers: str, postgres_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One set of processes for all, because it takes longer to start them than to do this."""
    name = f"f{os.urandom(5).hex()}"
    mark = "&" if "?" in postgres_dsn else "?"
    views = f"{postgres_dsn}{mark}meshline_namespace={name}"
    asyncio.run(everything(Place("kafka", f"kafka://{kafka_servers}/{name}", views), tmp_path))


async def everything(place: Place, folder: Path) -> None:
    outside = Outside(
        {
            "Northwind": {"country": "SE", "employees": 12_400},
            "Blue Lake": {"country": "US", "employees": 40},
            "Cobalt": {"country": "DE", "employees": 2_300},
            "Meridian": {"country": "JP", "employees": 5_600},
        }
    )
    async with (
        listening(outside.app(), "127.0.0.1", 0) as systems,
        installed(place, folder, systems) as site,
    ):
        await approved(site, outside)
        await refused(site, outside)
        await denied(site, outside)
        await escalated(site, outside)
        await handed_over(site, outside)
        await corrected(site, outside)
        assert len(outside.customers) == 4


async def approved(site: Meshline, outside: Outside) -> None:
    form = {"email": "eva@northwind.example", "company": "Northwind"}
    run_id = await site.submit("F-1", form)
    repeated = await site.call(
        "service:web", "POST", "/v1/triggers", form, status=202, source="web.forms", id="F-1"
    )
    assert (repeated["status"], repeated["run_id"]) == ("repeated", run_id)
    await site.asks(run_id, "terms")

    work = await site.call("user:ada", "GET", "/v1/work", status=200)
    assert [(each["run_id"], each["task"], each["why"]) for each in work["items"]] == [
        (run_id, "terms", "candidate")
    ]
    actions = f"/v1/runs/{run_id}/tasks/terms/actions"
    await site.call("user:ada", "POST", actions, {"action": "claim"}, status=202)
    # Dora is not asked yet, and Bob may decide, but Ada has it.
    for other in ("user:dora", "user:bob"):
        await site.decide(other, run_id, "terms", decision="approved", form={}, status=409)
    # What the form does not allow, nobody approves.
    too_much = {"discount_percent": 90}
    await site.decide("user:ada", run_id, "terms", decision="approved", form=too_much, status=409)
    await site.decide(
        "user:ada", run_id, "terms", decision="approved", form={"discount_percent": 10}
    )
    run = await site.becomes(run_id, "succeeded")

    assert run["owner"] == "team:emea"
    customer = outside.customer("Northwind")
    assert (customer["discount_percent"], customer["owner"]) == (10, "team:emea")
    history = await site.history(run_id)
    assert actors(history, "trigger.received") == ["service:web"] * 2
    assert actors(history, "task.claimed") == ["user:ada"]
    assert actors(history, "approval.approved") == ["user:ada"]
    assert actors(history, "request.rejected") == ["user:dora", "user:bob", "user:ada"]
    assert actors(history, "owner.assigned") == ["route"]
    story = site.story(run_id)
    assert "terms was approved" in story and "user:ada" in story


async def refused(site: Meshline, outside: Outside) -> None:
    problem = await site.call(
        "service:web", "POST", "/v1/triggers", {"email": "no", "company": ""}, status=422,
        source="web.forms", id="F-2",
    )  # fmt: skip
    assert {error["pointer"] for error in problem["errors"]} == {"/email", "/company"}


async def denied(site: Meshline, outside: Outside) -> None:
    run_id = await site.submit("F-3", {"email": "max@cobalt.example", "company": "Cobalt"})
    await site.asks(run_id, "terms")
    await site.decide("user:bob", run_id, "terms", decision="denied", status=409)
    await site.decide("user:bob", run_id, "terms", decision="denied", reason="they never pay")
    await site.becomes(run_id, "cancelled")

    history = await site.history(run_id)
    assert actors(history, "approval.denied") == ["user:bob"]
    assert actors(history, "approval.approved") == []
    assert all(each["company"] != "Cobalt" for each in outside.customers.values())
    assert "they never pay" in site.story(run_id)


async def escalated(site: Meshline, outside: Outside) -> None:
    form = {"email": "mo@meridian.example", "company": "Meridian", "urgent": True}
    run_id = await site.submit("F-4", form)
    await site.asks(run_id, "terms_today")
    await site.run(
        run_id, lambda run: any(w["owner"] == "role:director" for w in run["waits"] or ())
    )
    await site.decide(
        "user:dora", run_id, "terms_today", decision="approved", form={"discount_percent": 5}
    )
    await site.becomes(run_id, "succeeded")

    history = await site.history(run_id)
    assert len(actors(history, "approval.escalated")) == 1
    assert actors(history, "approval.approved") == ["user:dora"]
    assert outside.customer("Meridian")["owner"] == "team:apac"
    assert "role:director" in site.story(run_id)


async def handed_over(site: Meshline, outside: Outside) -> None:
    outside.companies["Halvorsen"] = {"country": "SE", "employees": 3_100}
    run_id = await site.submit("F-5", {"email": "kim@halvorsen.example", "company": "Halvorsen"})
    await site.asks(run_id, "terms")
    body = {"owner": "user:bob", "reason": "he knows them"}
    await site.call("user:ada", "POST", f"/v1/runs/{run_id}/owner", body, status=403)
    await site.call("user:olga", "POST", f"/v1/runs/{run_id}/owner", body, status=202)
    await site.decide(
        "user:ada", run_id, "terms", decision="approved", form={"discount_percent": 0}
    )
    run = await site.becomes(run_id, "succeeded")

    assert run["owner"] == "user:bob"
    periods = await site.call("user:olga", "GET", f"/v1/runs/{run_id}/owners", status=200)
    assert [(p["owner"], p["actor"], p["reason"]) for p in periods["items"]][-1] == (
        "user:bob",
        "user:olga",
        "he knows them",
    )
    assert "he knows them" in site.story(run_id)


async def corrected(site: Meshline, outside: Outside) -> None:
    run_id = await site.submit("F-6", {"email": "li@bluelake.example", "company": "Blue Lkae"})
    await site.becomes(run_id, "held")
    found = await site.call("user:olga", "GET", "/v1/exceptions", status=200, state="open")
    (opened,) = [each for each in found["items"] if each["run_id"] == run_id]
    assert opened["owner"] == "queue:revops-triage"
    actions = f"/v1/exceptions/{opened['exception_id']}/actions"
    wrong = {"action": "retry", "corrections": [{"of": "trigger", "path": "/email", "value": "x"}]}
    await site.call("user:olga", "POST", actions, wrong, status=409)
    right = {
        "action": "retry",
        "corrections": [{"of": "trigger", "path": "/company", "value": "Blue Lake"}],
        "reason": "they mistyped it",
    }
    await site.call("user:olga", "POST", actions, right, status=202)
    run = await site.becomes(run_id, "succeeded")

    assert run["owner"] == "team:amer"
    assert outside.customer("Blue Lake")["contact"] == "li@bluelake.example"
    history = await site.history(run_id)
    (closed,) = [event for event in history if event["type"] == "meshline.exception.resolved.v1"]
    assert closed["actor"] == "user:olga"
    assert closed["data"]["corrected"] == [
        {
            "of": "trigger",
            "changes": [
                {
                    "path": "/company",
                    "what": "changed",
                    "before": "Blue Lkae",
                    "after": "Blue Lake",
                }
            ],
        }
    ]
    assert "trigger/company was changed" in site.story(run_id)
