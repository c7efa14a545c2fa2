"""The faulty log loses, repeats and delays, and answers each append once."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from random import Random

from meshline.events.log.protocol import Accepted, AppendResult, Entry
from meshline.testing.faulty_log import FaultyLog

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def entries(name: str, count: int = 3) -> list[Entry]:
    return [Entry("key", f"{name}-{number}".encode()) for number in range(count)]


def drained(log: FaultyLog) -> None:
    while not log.is_quiet():
        log.advance()


def test_without_faults_each_append_arrives_whole() -> None:
    log = FaultyLog(Random(1), lambda: NOW, faults=0)
    answers: list[AppendResult] = []

    log.append(entries("a"), answers.append)
    drained(log)

    assert answers == [Accepted(0, 2, contiguous=True)]
    assert [record.value for record in log.records] == [b"a-0", b"a-1", b"a-2"]
    assert [record.offset for record in log.records] == [0, 1, 2]


def test_every_fault_comes_and_every_append_is_answered_once() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(300):
        log = FaultyLog(Random(seed), lambda: NOW, faults=10)
        answers: dict[str, list[AppendResult]] = {"a": [], "b": []}
        for name, got in answers.items():
            log.append(entries(name), got.append)
        for _ in range(60):
            log.advance()
        log.heal()
        drained(log)

        values = [record.value.decode() for record in log.records]
        for name, got in answers.items():
            (answer,) = got
            there = [value for value in values if value.startswith(name)]
            kinds[f"{type(answer).__name__} {len(there)}"] += 1
            if isinstance(answer, Accepted):
                stands = values[answer.first : answer.last + 1]
                assert [v for v in stands if v.startswith(name)][:3] == [
                    f"{name}-{number}" for number in range(3)
                ]
                assert answer.contiguous == (len(stands) == 3)

    assert kinds["Refused 0"] and kinds["Unknown 0"] and kinds["Unknown 3"] and kinds["Accepted 3"]
    assert kinds["Accepted 6"], "one that came twice"
    assert kinds["Unknown 1"] and kinds["Unknown 2"], "parts of one"


def test_one_seed_is_one_history() -> None:
    def history(seed: int) -> list[bytes]:
        log = FaultyLog(Random(seed), lambda: NOW)
        for name in "abcdef":
            log.append(entries(name), lambda result: None)
        drained(log)
        return [record.value for record in log.records]

    assert history(7) == history(7)
    assert history(7) != history(8)
