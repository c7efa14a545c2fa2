"""The client's history is held against the log: each kind of lie is found."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from meshline.events import facts
from meshline.events.codec import encode
from meshline.events.envelope import Event
from meshline.events.log import LogRecord
from meshline.events.requests import TriggerReceived
from tests.acceptance.support.audit import Audit
from tests.faults.support.history import Operation, answered_in, check_history, history_of

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def received(operation: str, event_id: str = "e1") -> bytes:
    data = TriggerReceived(source="shop", trigger_id="7", trigger_type="Order", payload={})
    return encode(
        Event(
            id=event_id, source="shop", subject="run", time=NOW, data=data, recorded_at=NOW,
            correlation_id=operation,
        )
    )  # fmt: skip


def accepted(sequence: int) -> bytes:
    data = facts.TriggerAccepted(
        source="shop", trigger_id="7", trigger_type="Order", payload_hash="h", workflow="w",
        version=1, exception_route="queue:q",
    )  # fmt: skip
    return encode(
        Event(
            id=f"1-{sequence}", source="meshline/0", subject="run", time=NOW, data=data,
            recorded_at=NOW, epoch=1, sequence=sequence,
        )
    )  # fmt: skip


def log_of(*values: bytes) -> Audit:
    return Audit(records={0: [LogRecord(0, n, "run", value, 0) for n, value in enumerate(values)]})


def ok(position: int) -> dict[str, Operation]:
    return {"a": Operation("order 7", "ok", (0, position), "appended")}


def test_what_is_as_it_was_said_passes() -> None:
    assert check_history(ok(0), log_of(received("a"), accepted(1)))["ok"] == 1
    for said in ("unknown", "fail"):
        assert check_history({"a": Operation("order 7", said)}, log_of(b"{")) == {said: 1}
    unknown = {"a": Operation("order 7", "unknown")}
    assert check_history(unknown, log_of(received("a"), accepted(1)))["unknown"] == 1


def test_a_copy_of_an_append_without_an_answer_is_the_same_event() -> None:
    check_history(ok(1), log_of(received("a"), received("a"), accepted(1)))


@pytest.mark.parametrize(
    ("operations", "log"),
    [
        (ok(0), log_of(b"{", accepted(1))),
        (ok(1), log_of(received("a"), accepted(1))),
        (ok(0), log_of(received("a", "e1"), received("a", "e2"), accepted(1))),
        (ok(0), log_of(received("a"))),
        (ok(0), log_of(received("a"), accepted(1), accepted(2))),
        ({"a": Operation("order 7", "fail")}, log_of(received("a"), accepted(1))),
    ],
    ids=["lost", "elsewhere", "doubled", "never accepted", "accepted twice", "there after all"],
)
def test_each_lie_is_found(operations: dict[str, Operation], log: Audit) -> None:
    with pytest.raises(AssertionError):
        check_history(operations, log)


def test_what_a_killed_client_left_open_is_unknown_and_is_asked_again(tmp_path: Path) -> None:
    lines = [
        {"op": "a", "said": "begin", "about": "order 1"},
        {"op": "b", "said": "begin", "about": "order 2"},
        {"op": "a", "said": "ok", "position": [0, 5], "status": "appended"},
    ]
    file = tmp_path / "client.jsonl"
    file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))

    said = history_of([file])

    assert (said["a"].said, said["a"].position) == ("ok", (0, 5))
    assert said["b"].said == "unknown"
    assert answered_in(file) == {"order 1"}
