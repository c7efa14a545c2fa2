"""How often a password can be tried, on however many servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from meshline.api.accounts import Accounts
from meshline.api.problems import TooMany
from meshline.api.wrong_passwords import FORGOTTEN_AFTER, NAMES_MAX, WRONG_MAX, WrongPasswords
from meshline.events.clock import ManualClock

pytestmark = pytest.mark.postgres
PASSWORD = "correct horse battery"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def servers(postgres_address: str, clock: ManualClock) -> AsyncIterator[list[Accounts]]:
    """Two that have their users at one place."""
    servers = [Accounts(postgres_address, clock=clock, cost=16) for _ in range(2)]
    for each in servers:
        await each.open()
    await servers[0].create("ada", ["viewer"], made_by="user:test", password=PASSWORD)
    yield servers
    for each in servers:
        await each.aclose()


async def close(accounts: Accounts, name: str) -> None:
    for _ in range(WRONG_MAX):
        assert await accounts.sign_in(name, "wrong") is None


async def test_what_is_tried_at_one_server_counts_at_all(servers: list[Accounts]) -> None:
    answers = await asyncio.gather(
        *(servers[n % 2].sign_in("ada", f"wrong {n}") for n in range(3 * WRONG_MAX)),
        return_exceptions=True,
    )

    assert answers.count(None) == WRONG_MAX
    for each in servers:
        with pytest.raises(TooMany, match="try again in 15 minutes"):
            await each.sign_in("ada", PASSWORD)
    # Names that nobody has are as many and no more, so that they tell nothing.
    await close(servers[0], "eve")
    with pytest.raises(TooMany):
        await servers[1].sign_in("eve", "wrong")


async def test_a_right_password_counts_nothing_and_begins_the_count_anew(
    servers: list[Accounts],
) -> None:
    for _ in range(2):
        for n in range(WRONG_MAX - 1):
            assert await servers[n % 2].sign_in("ada", "wrong") is None
        assert await servers[0].sign_in("ada", PASSWORD)


async def test_they_are_forgotten_one_by_one(servers: list[Accounts], clock: ManualClock) -> None:
    await close(servers[0], "eve")
    clock.set(clock.now() + FORGOTTEN_AFTER / 2)
    for _ in range(WRONG_MAX - 1):
        assert await servers[0].sign_in("ada", "wrong") is None
    clock.set(clock.now() + FORGOTTEN_AFTER / 2 + timedelta(seconds=1))

    assert await servers[1].sign_in("eve", "wrong") is None
    assert await servers[1].sign_in("ada", "wrong") is None
    with pytest.raises(TooMany):
        await servers[1].sign_in("ada", PASSWORD)


async def test_whatever_names_are_tried_a_closed_one_stays_closed_and_few_are_kept(
    servers: list[Accounts], clock: ManualClock
) -> None:
    wrong = [WrongPasswords(each.fetch, clock) for each in servers]
    await close(servers[0], "ada")
    await servers[0].fetch(
        "insert into {schema}.wrong_passwords select sha256(n::text::bytea), array[$1::timestamptz]"
        ", $1 from generate_series(1, $2) as n",
        clock.now(),
        NAMES_MAX,
    )
    await asyncio.gather(*(wrong[n % 2].take(f"name-{n}") for n in range(60)))
    [kept] = await servers[0].fetch("select count(*) as names from {schema}.wrong_passwords")

    # Two sweeps at once leave a few to the next.
    assert kept["names"] <= NAMES_MAX + 4
    with pytest.raises(TooMany):
        await servers[1].sign_in("ada", PASSWORD)
    clock.set(clock.now() + FORGOTTEN_AFTER)
    await wrong[0].take("the next")
    [kept] = await servers[0].fetch("select count(*) as names from {schema}.wrong_passwords")
    assert kept["names"] == 1


async def test_no_name_is_kept_in_the_clear(servers: list[Accounts]) -> None:
    await servers[0].sign_in("my secret, typed in the wrong box", "wrong")

    kept = await servers[0].fetch("select w::text as text from {schema}.wrong_passwords as w")
    assert len(kept) == 1 and "secret" not in kept[0]["text"]
