"""Fingerprints of causes: what differs from run to run does not count, and all else does."""

from __future__ import annotations

import json
import os
import uuid
from datetime import UTC, timedelta, timezone
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshline.engine.core.causes import cause_of, words_in_common
from meshline.events import facts
from meshline.events.requests import ERROR_TEXT_MAX, StepError
from meshline.projections.exception_view import exceptions
from meshline.testing import WorkflowTest
from meshline.workflow import Retry
from tests.engine.core.workflows import Done, Order, new_workflow
from tests.projections.given import rows_after

FAILURES = int(os.environ.get("MESHLINE_FAILURES", "1000"))
"""How many failures are put into groups; 10000 takes ten times as long."""

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False).map(
    lambda value: f"{value:.3f}"
)
IDS = (
    st.uuids()
    | st.uuids().map(lambda value: str(value).upper())
    | st.integers(2**31, 2**63).map(lambda value: f"{value:x}")
    | st.integers(0, 2**63).map(hex)
    | st.from_regex(r"\A[A-Za-z]?[0-9][a-z][0-9A-Za-z]{5,30}\Z")
)
QUOTED = st.text(max_size=40).map(repr) | st.text(max_size=40).map(
    lambda value: json.dumps(value, ensure_ascii=False)
)
MAILS = st.from_regex(r"\A[a-z][a-z0-9.+-]{0,20}@[a-z][a-z0-9-]{0,10}(\.[a-z]{2,5}){1,2}\Z")
ADDRESSES = st.from_regex(
    r"\A(https?|postgresql|s3)://[a-z][a-z0-9.-]{0,20}(:[0-9]{2,5})?(/[\w=&?%-]{1,10}){0,3}/\Z"
)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=-30)), None])
TIMES = st.datetimes(timezones=ZONES).flatmap(
    lambda at: st.sampled_from(
        (
            at.replace(second=max(at.second, 1), year=max(at.year, 1000)).isoformat(),
            f"{max(at.year, 1000)}-{at:%m-%d}",
            f"{at:%H:%M:%S.%f}",
            f"{at:%H:%M}",
            f"{at:%a, %d %b} {max(at.year, 1000)} {at:%H:%M:%S} GMT",
        )
    )
)
VARYING = (NUMBERS, IDS, QUOTED, MAILS, ADDRESSES, TIMES)
WORDS = st.lists(st.from_regex(r"\A[g-z]{2,12}\Z"), min_size=1, max_size=3)


@st.composite
def alike(draw: st.DrawFn) -> tuple[str, str]:
    """Two messages of the same words, in which what stands between them differs."""
    one: list[str] = []
    other: list[str] = []
    for word in draw(WORDS):
        kind = draw(st.sampled_from(VARYING))
        for texts in (one, other):
            texts += [word, str(draw(kind))]
    between = draw(st.sampled_from([" ", ": ", "=("])) if "(" not in "".join(one + other) else " "
    return between.join(one), between.join(other)


@given(alike())
def test_messages_that_differ_only_in_what_varies_are_one_cause(two: tuple[str, str]) -> None:
    assert words_in_common(two[0]) == words_in_common(two[1])


@given(WORDS, WORDS, st.sampled_from(VARYING).flatmap(lambda kind: kind))
def test_messages_of_different_words_are_different_causes(
    one: list[str], other: list[str], value: object
) -> None:
    same = one == other

    assert (
        words_in_common(" ".join([*one, str(value)]))
        == words_in_common(" ".join([*other, str(value)]))
    ) is same


@given(st.text() | st.text("'\"`\\ aA0#-:.@/“”", max_size=200))
def test_any_text_has_words_and_they_stay_as_they_are(text: str) -> None:
    assert len(words_in_common(text)) <= 1_000
    words_in_common(text).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("order 17 of ada@example.org is gone", "order 4711 of bob.b+x@mail.example.com is gone"),
        ("no ord_8f3k2 here", "no ord_k29fx1 here"),
        ("INV-0001 is closed", "INV-99 is closed"),
        ("bad rows [1, 2, 3]", "bad rows [5]"),
        ("got -1.5e10", "got 7e2"),
        ("<Order object at 0x7f01aa>", "<Order object at 0x66bc12ee>"),
        ("took 30s", "took 1.5s"),
        ("see https://a.example/x?y=1, then retry", "see http://b.example:80/, then retry"),
        ("due Mon, 05 Jan 2026 09:31:07 GMT", "due Tue, 6 Jan 2026 10:00:00 GMT"),
        ("due 2026-01-05T09:31:07.250+02:00", "due 2026-01-05T09:31:07Z"),
        ("at 9:31 PM", "at 10:05 am"),
        ("a  b\n c", "a b c"),
        ("expected 'it is' here", 'expected "it\'s" here'),
        ("left open 'abc…", "left open 'defg…"),
        ("5c1f4c1e-9e0b-4b6e-8f0e-1b2c3d4e5f60 lost", "5C1F4C1E-9E0B-4B6E-8F0E-1B2C3D4E5F61 lost"),
    ],
)  # fmt: skip
def test_what_varies_does_not_count(one: str, other: str) -> None:
    assert words_in_common(one) == words_in_common(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("can't open the door, it's locked", "can't read the file, it's locked"),
        ("user 5 unknown", "group 5 unknown"),
        ("utf8 is broken", "sha256 is broken"),
        ("rock 'n roll of red", "rock 'n roll of blue"),
        ("connection refused", "connection reset"),
        ("a" * 300 + " x", "a" * 300 + " y"),
    ],
)
def test_what_does_not_vary_counts(one: str, other: str) -> None:
    assert words_in_common(one) != words_in_common(other)


def test_a_cause_is_of_one_workflow_step_kind_and_type_of_error() -> None:
    error = StepError(type="ConnectionError", message="refused")
    causes = [
        cause_of("invoice", "book", "step_failed", error, ""),
        cause_of("order", "book", "step_failed", error, ""),
        cause_of("invoice", "pay", "step_failed", error, ""),
        cause_of("invoice", "book", "rule_failed", error, ""),
        cause_of("invoice", "book", "step_failed", error.model_copy(update={"type": "E"}), ""),
        cause_of("invoice", "book", "step_failed", None, "refused"),
    ]

    assert len(set(causes)) == len(causes)


def test_items_of_a_step_and_triggers_that_conflict_are_one_cause_each() -> None:
    def cause(about: str, kind: str) -> str:
        return cause_of("invoice", about, kind, None, "again")

    assert cause("book[1]", "step_failed") == cause("book[20]", "step_failed")
    assert cause("I-1", "trigger_conflict") == cause("J", "trigger_conflict")


@pytest.mark.parametrize(
    "text", ["'", '"', "a", "0", "a@", "http://", "a.", "- ", "`", "1:", "'a "]
)
def test_a_hostile_message_takes_no_longer_than_its_length_says(text: str) -> None:
    # Were it the square of the length, each of these would take minutes.
    words_in_common((text * ERROR_TEXT_MAX)[:ERROR_TEXT_MAX])


CAUSES = (
    lambda r: ConnectionError(f"no answer from https://crm-{r.random()}.example/{r.random()}"),
    lambda r: TimeoutError(f"gave up after {r.uniform(1, 90):.2f} s at 09:{r.randint(10, 59)}:07"),
    lambda r: LookupError(f"no customer {uuid.UUID(int=r.getrandbits(128))} ({r.random()})"),
    lambda r: LookupError(f"no account {uuid.UUID(int=r.getrandbits(128))} ({r.random()})"),
    lambda r: ValueError(f"mail user{r.randint(1, 999)}.x@mail{r.randint(1, 99)}.example bounced"),
    lambda r: ValueError(f"expected a name, got {'x' * r.randint(0, 9)!r}"),
    lambda r: ValueError(f"expected an age, got {'x' * r.randint(0, 9)!r}"),
)


async def test_ten_thousand_failures_of_seven_causes_are_seven_groups() -> None:
    random = Random(7)
    wf = new_workflow()

    @wf.step(retry=Retry(attempts=1))
    def work(trigger: Order) -> Done:
        raise CAUSES[trigger.number % 7](random)

    opened: list[facts.ExceptionOpened] = []
    test = WorkflowTest(wf)
    for number in range(FAILURES):
        run = test.start(Order(number=number))
        opened += [fact for fact in run.history if isinstance(fact, facts.ExceptionOpened)]
    rows = await rows_after(exceptions, *opened)

    assert len(rows) == FAILURES
    assert len({row.cause for row in rows}) == len(CAUSES)
    assert len({row.message for row in rows}) > FAILURES / 2
