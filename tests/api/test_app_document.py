"""The OpenAPI document against the server: whatever is sent, only what it says is answered."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
)

from meshline.cli.serve import listening
from meshline.workflow.registry import Registry
from tests.api.installation import installed, reaches
from tests.api.leads import SOURCE, leads

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

EXAMPLES = int(os.environ.get("MESHLINE_API_EXAMPLES", "3"))
"""For each operation, of what its schema allows, and of what it does not."""

LIMITS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def do_not_wait(case: Any) -> None:
    """Let a call that may take long take no time; one that is wrong stays wrong."""
    if "/changes" in case.path:
        case.query.setdefault("for_s", 0)
    for name in ("wait_s", "for_s"):
        if isinstance(case.query.get(name), int | float) and case.query[name] >= 0:
            case.query[name] = 0


def wrong_answers(address: str, key: str, known: dict[str, str]) -> list[str]:
    """Send to every operation what its schema allows, and what it does not; tell what is wrong."""
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    found: list[str] = []
    asked: set[str] = set()
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]  # the document is ours
        asked.add(f"{operation.method} {operation.path}")
        for mode in schemathesis.GenerationMode:

            @LIMITS
            @given(case=operation.as_strategy(generation_mode=mode))
            def send(case: Any) -> None:
                for name, value in known.items():
                    if name in case.path_parameters and len(str(case.path_parameters[name])) % 2:
                        case.path_parameters[name] = value
                do_not_wait(case)
                # What the schema allows may still be refused, and what it does not may look right
                # once it is text in an address: not so a 500 or an answer of another shape.
                case.call_and_validate(
                    headers={"Authorization": f"Bearer {key}"},
                    timeout=90,
                    excluded_checks=[negative_data_rejection, positive_data_acceptance],
                )

            try:
                send()
            except Unsatisfiable:
                continue  # There is nothing that its schema does not allow.
            except (Exception, FailureGroup) as error:
                told = [str(each) for each in getattr(error, "exceptions", [error])]
                found.append(f"{operation.label} ({mode.value}): {error}\n{told}")
    assert len(asked) > 20
    return found


async def test_only_what_the_document_says_is_answered(postgres_address: str) -> None:
    async with (
        installed(postgres_address, Registry(leads)) as meshline,
        listening(meshline.api, "127.0.0.1", 0) as address,
        meshline.as_("user:ada", "admin") as ada,
    ):
        form = {"email": "ada@example.org", "company": "Acme", "employees": 900}
        run = (await ada.post("/v1/triggers", form, source=SOURCE, id="F-1"))["run_id"]
        await reaches(ada, run, "waiting")
        key = ada.http.headers["Authorization"].removeprefix("Bearer ")
        known = {"run": run, "approval": "big_deal", "workflow": "leads"}
        wrong = await asyncio.to_thread(wrong_answers, address, key, known)

    assert wrong == [], "\n\n".join(wrong)
