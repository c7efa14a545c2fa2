"""The lead-intake example: its steps as functions, and the submissions of a day."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest
from examples import lead_intake
from examples.lead_intake import INVALID, LARGE, NOT_LISTED, OUT_OF_ORDER, generate
from pydantic import ValidationError

from meshline.workflow.spec import ApprovalNode, StepNode


def test_it_answers_the_five_questions() -> None:
    spec = lead_intake.lead.spec

    assert (spec.trigger_type, spec.source, spec.owner) == (
        "FormSubmitted", "web.forms", "team:revops",
    )  # fmt: skip
    assert (spec.exception_route, spec.expected_outcome) == ("queue:revops-triage", "LeadCreated")
    assert (spec.due_s, spec.outcome_node) == (172_800, "create_lead")


def test_a_large_company_is_approved_first_and_its_lead_can_be_undone() -> None:
    nodes = lead_intake.lead.spec.nodes
    big_deal, create_lead = nodes["big_deal"], nodes["create_lead"]

    assert isinstance(big_deal, ApprovalNode)
    assert (big_deal.due_s, big_deal.escalate) == (14_400, ("team:sales-directors",))
    assert isinstance(create_lead, StepNode)
    assert "big_deal" in create_lead.wants
    assert create_lead.compensation is not None


async def test_the_directory_stumbles_and_recovers_but_not_for_all() -> None:
    companies = {each.payload.get("company") for each in generate() if each.kind == "new"}
    needed = Counter(await asyncio.gather(*(tries_needed(str(each)) for each in companies)))

    assert needed[1] > 100
    assert set(needed) == {1, 2, 3, 4}
    assert await tries_needed(OUT_OF_ORDER) is None
    with pytest.raises(lead_intake.CompanyUnknown):
        await lead_intake.directory.look_up(NOT_LISTED, "SE", 1)


async def tries_needed(company: str) -> int | None:
    for attempt in range(1, 6):
        try:
            await lead_intake.directory.look_up(company, "SE", attempt)
        except lead_intake.EnrichmentUnavailable:
            continue
        return attempt
    return None


async def test_large_companies_do_not_stumble_and_are_large() -> None:
    for company in LARGE:
        assert (await lead_intake.directory.look_up(company, "SE", 1)).employees > 500


def test_the_same_key_is_the_same_lead() -> None:
    crm = lead_intake.Crm()

    first, second, other = crm.create("a", {}), crm.create("a", {}), crm.create("b", {})

    assert first == second != other
    assert len(crm.leads) == 2
    crm.remove(first)
    crm.remove(first)
    assert list(crm.leads) == [other]


def test_the_submissions_of_a_day_are_the_same_each_time_and_can_be_sent() -> None:
    first, second = generate(500), generate(500)

    assert first == second
    assert generate(500, seed=8) != first
    assert len(json.dumps([each.payload for each in first])) > 50_000


def test_the_submissions_hold_all_that_goes_wrong() -> None:
    kinds = Counter(each.kind for each in generate(500))

    assert sum(kinds.values()) == 500
    assert {kind: kinds[kind] for kind in ("out of order", "not listed", "changed")} == {
        "out of order": 1, "not listed": 1, "changed": 1,
    }  # fmt: skip
    assert (kinds["large"], kinds["repeated"]) == (20, 15)
    assert all(kinds[kind] >= 2 for kind in INVALID)


def test_only_the_invalid_ones_are_invalid() -> None:
    for each in generate(500):
        try:
            lead_intake.FormSubmitted.model_validate(each.payload)
            is_valid = "\u0000" not in each.payload["message"]
        except ValidationError:
            is_valid = False

        assert is_valid != (each.kind in INVALID), each


def test_an_id_comes_again_with_the_same_payload_except_once() -> None:
    sent: dict[str, object] = {}
    for each in generate(500):
        if each.id in sent:
            assert (sent[each.id] == each.payload) == (each.kind == "repeated"), each
            continue
        sent[each.id] = each.payload
        assert each.kind not in ("repeated", "changed")


@pytest.mark.parametrize("count", [0, 1, 5, 12, 60])
def test_few_submissions_are_few(count: int) -> None:
    assert len(generate(count)) == count
