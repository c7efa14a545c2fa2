from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from meshline.events import facts, people_requests, requests
from meshline.events.catalogue import type_name
from meshline.events.secrets import MASK
from meshline.projections.exchanges import Exchange
from meshline.projections.masked_tables import masked_columns
from meshline.projections.masking import UNKNOWN, Definitions, masked_event, masked_row
from meshline.projections.workflows_view import WorkflowRow

NOW = datetime(2026, 11, 28, tzinfo=UTC)
SPEC = {
    "secrets": {
        "trigger": ["/account"], "score": ["/account"], "book": ["/*/account"],
        "credit": ["/form/account"], "signed": ["/account"],
    },
    "outcome_node": "score",
    "nodes": [{"name": "score"}, {"name": "book", "each": {"of": "trigger.lines"}},
              {"name": "credit"}, {"name": "signed"}, {"name": "plain"}],
}  # fmt: skip
OPEN = {"name": "Ada", "account": "SE45"}
SHOWN = {"name": "Ada", "account": MASK}
HIDDEN = {"name": MASK, "account": MASK}
"""Of a value of which nobody says whose it is: it may be a list's item, or a form."""


def definition(version: int, spec: dict[str, Any], source: str = "web") -> WorkflowRow:
    return WorkflowRow(
        "loan", version, f"hash-{version}", "Loan", source, "team:a", "queue:a", "Paid", False,
        NOW, 0, version, spec,
    )  # fmt: skip


SECRETS = Definitions([definition(1, SPEC)]).of_run("loan", 1)


@pytest.mark.parametrize(
    ("kind", "data", "field", "shown"),
    [
        (requests.TriggerReceived, {"payload": OPEN}, "payload", SHOWN),
        (facts.TriggerAccepted, {"payload_hash": "ab12"}, "payload_hash", MASK),
        (requests.MessageReceived, {"name": "signed", "payload": OPEN}, "payload", SHOWN),
        (requests.MessageReceived, {"name": "singed", "payload": OPEN}, "payload", HIDDEN),
        (facts.MessageMatched, {"message": "signed", "payload": OPEN}, "payload", SHOWN),
        (requests.StepReported, {"step": "score", "result": OPEN}, "result", SHOWN),
        (facts.StepSucceeded, {"step": "score", "result": OPEN}, "result", SHOWN),
        (facts.StepSucceeded, {"step": "book[1]", "result": OPEN}, "result", SHOWN),
        (facts.StepSucceeded, {"step": "plain", "result": OPEN}, "result", OPEN),
        (facts.StepSkipped, {"step": "score", "value": OPEN}, "value", SHOWN),
        (facts.StepSkipped, {"step": "plain", "values": {"score": OPEN}}, "values",
         {"score": SHOWN}),
        (facts.OwnerAssigned, {"values": {"trigger": OPEN}}, "values", {"trigger": SHOWN}),
        (facts.RunSucceeded, {"outcome": OPEN}, "outcome", SHOWN),
        (requests.ApprovalSubmitted, {"approval": "credit", "form": OPEN}, "form", SHOWN),
        (facts.ApprovalVoted, {"approval": "credit", "form": OPEN}, "form", SHOWN),
        (facts.ApprovalApproved, {"approval": "credit", "form": OPEN}, "form", SHOWN),
        (people_requests.TaskCompletionRequested, {"task": "signed", "form": OPEN}, "form", SHOWN),
        (facts.TaskCompleted, {"task": "signed", "form": OPEN}, "form", SHOWN),
        (requests.ExceptionActionRequested, {"value": OPEN}, "value", HIDDEN),
        (requests.ExceptionActionRequested,
         {"corrections": [{"of": "score", "path": "/account", "value": "SE45"}]}, "corrections",
         [{"of": "score", "path": "/account", "value": MASK}]),
        (facts.ExceptionResolved,
         {"corrected": [{"of": "trigger", "changes": [
             {"path": "/account", "what": "changed", "before": "SE45", "after": "SE46"}]}]},
         "corrected",
         [{"of": "trigger", "changes": [
             {"path": "/account", "what": "changed", "before": MASK, "after": MASK}]}]),
        (requests.ActivityReported, {"payload": OPEN}, "payload", OPEN),
    ],
)  # fmt: skip
def test_an_event_is_shown_without_its_secrets(
    kind: Any, data: dict[str, Any], field: str, shown: Any
) -> None:
    assert masked_event(type_name(kind), data, SECRETS)[field] == shown


@pytest.mark.parametrize(
    ("kind", "data", "field"),
    [
        (requests.TriggerReceived, {"payload": OPEN}, "payload"),
        (facts.StepSucceeded, {"step": "plain", "result": 5}, "result"),
        (facts.RunSucceeded, {"outcome": [1]}, "outcome"),
        (requests.ActivityReported, {"payload": OPEN}, "payload"),
    ],
)
def test_of_a_run_whose_definition_nobody_knows_payloads_are_masked_whole(
    kind: Any, data: dict[str, Any], field: str
) -> None:
    assert masked_event(type_name(kind), data, UNKNOWN)[field] == MASK


def test_what_could_not_be_read_is_hidden_where_there_are_secrets() -> None:
    kept = {"reason": "not_json", "detail": "", "size_bytes": 9, "sha256": "a", "raw_base64": "b"}
    data = {"payload": None, "unreadable": kept}

    shown = masked_event(type_name(requests.TriggerReceived), data, SECRETS)["unreadable"]

    assert (shown["raw_base64"], shown["sha256"]) == (MASK, MASK)


def test_a_mark_covers_the_runs_of_older_versions_and_none_of_a_later_one_is_lost() -> None:
    known = Definitions([definition(1, {}), definition(2, SPEC), definition(3, {})])

    assert known.of_run("loan", 1).of("trigger")
    assert known.of_run("loan", 2).of("trigger")
    assert not known.of_run("loan", 3).of("trigger")


def test_a_version_that_is_not_registered_is_not_known() -> None:
    known = Definitions([definition(2, SPEC)])

    assert known.of_run("loan", 1) is UNKNOWN
    assert known.of_trigger("elsewhere", "") is UNKNOWN
    assert known.of_trigger("web", "Other") is UNKNOWN
    assert known.of_trigger("web", "").of("trigger")


def test_an_item_of_a_list_has_the_secrets_of_its_place_in_the_list() -> None:
    spec = SPEC | {"secrets": {"trigger": ["/lines/*/account"], "book": ["/*/account"]}}
    secrets = Definitions([definition(1, spec)]).of_run("loan", 1)
    each = Exchange(
        "run", "book[1]", 1, "succeeded", NOW, "0:1", taken={"item": OPEN, "index": 1}, gave=OPEN,
        changes=[{"path": "/account", "what": "changed", "before": "SE45", "after": "SE46"}],
    )  # fmt: skip

    shown = masked_row(each, secrets)

    assert shown.taken == {"item": SHOWN, "index": 1}
    assert shown.gave == SHOWN
    assert shown.changes == [{"path": "/account", "what": "changed", "before": MASK, "after": MASK}]


def test_what_a_failed_try_gave_is_its_error_and_stays() -> None:
    error = {"type": "ValueError", "message": "no"}
    each = Exchange("run", "score", 1, "failed", NOW, "0:1", gave=error)

    assert masked_row(each, SECRETS).gave == error
    assert masked_row(each, UNKNOWN).gave == error


@pytest.mark.parametrize(
    ("definitions", "shown"),
    [([definition(1, SPEC)], MASK), ([definition(1, {"nodes": []})], {"name": "Ada"}), ([], MASK)],
    ids=["with secrets", "without", "unknown"],
)
def test_rows_of_tables_hide_payloads_only_where_a_definition_has_secrets(
    definitions: list[WorkflowRow], shown: Any
) -> None:
    row = {"run_id": "r", "outcome": {"name": "Ada"}}

    assert masked_columns("runs", row, Definitions(definitions)) == {
        "run_id": "r",
        "outcome": shown,
    }
