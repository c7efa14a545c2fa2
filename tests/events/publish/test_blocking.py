"""Publishing from plain code, from several threads, and across a fork."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from meshline.events import BlockingPublisher, PublisherSettings, Trigger
from meshline.events.envelope import Actor
from meshline.events.errors import LogNotFound, PayloadRefused, PublisherClosed
from meshline.events.log import open_log
from meshline.events.requests import CancelRequested
from tests.events.publish.doubles import everything

ADA = Actor("user", "user:ada")


@pytest.fixture
def address(request: pytest.FixtureRequest) -> str:
    address = f"memory://{request.node.name}"
    asyncio.run(open_log(address).open(create_partitions=3))
    return address


def count(address: str) -> int:
    async def read() -> int:
        log: Any = open_log(address)
        await log.open()
        return len(await everything(log))

    return asyncio.run(read())


def test_plain_code_publishes_and_asks(address: str) -> None:
    with BlockingPublisher(address, actor=ADA) as publisher:
        one = publisher.publish("s", {"a": 1}, trigger_id="1")
        raw = publisher.publish_raw("s", b'{"a":', trigger_id="2")
        asked = publisher.request(one.run_id, CancelRequested(reason="x"), actor=ADA)
        with pytest.raises(PayloadRefused):
            publisher.request(one.run_id, CancelRequested(reason="\x00"), actor=ADA)

    assert (one.status, raw.status, asked.status) == ("appended", "rejected", "appended")
    assert count(address) == 3


def test_many_are_drawn_in_the_callers_thread_and_answered_in_order(address: str) -> None:
    threads = set()
    progress: list[int] = []

    def triggers() -> Iterator[Trigger]:
        for number in range(250):
            threads.add(threading.current_thread())
            yield Trigger("s", {}, str(number))

    with BlockingPublisher(address, settings=PublisherSettings(window_max=100)) as publisher:
        answers = list(publisher.publish_many(triggers(), progress=progress.append))

    assert [answer.trigger_id for answer in answers] == [str(i) for i in range(250)]
    assert threads == {threading.current_thread()}
    assert progress == list(range(1, 251))


def test_many_threads_share_one(address: str) -> None:
    with BlockingPublisher(address) as publisher, ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(lambda i: publisher.publish("s", {}, trigger_id=str(i)), range(200))
        )

    assert len({(answer.position, answer.run_id) for answer in answers}) == 200


def test_it_is_open_only_inside_with_and_closes_as_often_as_one_likes(address: str) -> None:
    publisher = BlockingPublisher(address)
    with pytest.raises(PublisherClosed, match="inside `with BlockingPublisher"):
        publisher.publish("s", {}, trigger_id="1")

    with publisher:
        publisher.publish("s", {}, trigger_id="1")
        publisher.close()
        with pytest.raises(PublisherClosed):
            publisher.publish("s", {}, trigger_id="2")
    publisher.close()

    assert count(address) == 1
    assert not [t for t in threading.enumerate() if t.name == "meshline-publisher"]


def test_what_fails_while_opening_leaves_nothing_behind() -> None:
    with pytest.raises(LogNotFound), BlockingPublisher("memory://nowhere"):
        pass

    assert not [t for t in threading.enumerate() if t.name == "meshline-publisher"]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_is_told_to_make_its_own(address: str) -> None:
    with BlockingPublisher(address) as publisher:
        child = os.fork()
        if child == 0:
            # Nothing of pytest may run in the child: it says what it saw by its exit code.
            code = 1
            try:
                publisher.publish("s", {}, trigger_id="1")
            except PublisherClosed:
                publisher.close()
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        answer = publisher.publish("s", {}, trigger_id="2")

    assert os.waitstatus_to_exitcode(status) == 0
    assert answer.status == "appended"
