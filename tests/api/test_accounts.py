"""Who can sign in, and until when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from meshline.api.accounts import IDLE_MAX, LASTS_MAX, Accounts
from meshline.api.principals import Permission
from meshline.events.clock import ManualClock
from meshline.events.errors import SettingsInvalid
from meshline.projections.errors import NotFound

pytestmark = pytest.mark.postgres


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def accounts(postgres_address: str, clock: ManualClock) -> AsyncIterator[Accounts]:
    accounts = Accounts(postgres_address, clock=clock, cost=16)
    await accounts.open()
    yield accounts
    await accounts.aclose()


def later(clock: ManualClock, by: timedelta) -> None:
    clock.set(clock.now() + by)


async def test_who_signs_in_has_the_permissions_of_their_roles(accounts: Accounts) -> None:
    _, password = await accounts.create("ada", ["viewer"], made_by="user:test")

    token = await accounts.sign_in("ada", password)
    principal = await accounts.principal(token)

    assert principal is not None
    assert principal.actor.id == "user:ada"
    assert principal.permissions == {Permission.READ}


async def test_a_wrong_password_or_name_begins_no_session(accounts: Accounts) -> None:
    _, password = await accounts.create("ada", ["viewer"], made_by="user:test")

    assert await accounts.sign_in("ada", password + "x") is None
    assert await accounts.sign_in("eve", password) is None
    assert await accounts.principal("no such token") is None
    assert await accounts.principal(None) is None


async def test_a_session_that_nobody_uses_is_over(accounts: Accounts, clock: ManualClock) -> None:
    _, password = await accounts.create("ada", ["viewer"], made_by="user:test")
    token = await accounts.sign_in("ada", password)

    later(clock, IDLE_MAX - timedelta(minutes=2))
    assert await accounts.principal(token) is not None
    later(clock, IDLE_MAX + timedelta(minutes=1))

    assert await accounts.principal(token) is None


async def test_a_page_that_refreshes_itself_keeps_no_session_open(
    accounts: Accounts, clock: ManualClock
) -> None:
    _, password = await accounts.create("ada", ["viewer"], made_by="user:test")
    token = await accounts.sign_in("ada", password)

    for _ in range(4):
        later(clock, IDLE_MAX / 4)
        assert await accounts.principal(token, by_themselves=False) is not None
    later(clock, timedelta(minutes=1))

    assert await accounts.principal(token, by_themselves=False) is None


async def test_a_session_is_over_however_much_it_is_used(
    accounts: Accounts, clock: ManualClock
) -> None:
    _, password = await accounts.create("ada", ["viewer"], made_by="user:test")
    token = await accounts.sign_in("ada", password)
    began = clock.now()

    while clock.now() - began <= LASTS_MAX:
        assert await accounts.principal(token) is not None
        later(clock, IDLE_MAX / 2)

    assert await accounts.principal(token) is None


async def test_a_new_password_and_a_removal_end_all_sessions(accounts: Accounts) -> None:
    _, password = await accounts.create("ada", ["viewer"], made_by="user:test")
    first = await accounts.sign_in("ada", password)
    changed = await accounts.set_password("ada")
    second = await accounts.sign_in("ada", changed)

    assert await accounts.principal(first) is None
    assert await accounts.sign_in("ada", password) is None
    assert await accounts.principal(second) is not None
    await accounts.remove("ada")
    assert await accounts.principal(second) is None
    with pytest.raises(NotFound):
        await accounts.remove("ada")


async def test_signing_out_ends_this_session_alone(accounts: Accounts) -> None:
    _, password = await accounts.create("ada", ["viewer"], made_by="user:test")
    one, other = await accounts.sign_in("ada", password), await accounts.sign_in("ada", password)
    assert one is not None

    await accounts.sign_out(one)

    assert await accounts.principal(one) is None
    assert await accounts.principal(other) is not None


async def test_the_first_user_is_made_once(accounts: Accounts) -> None:
    password = await accounts.create_first()

    assert password is not None
    assert await accounts.create_first() is None
    assert await accounts.sign_in("admin", password) is not None


@pytest.mark.parametrize(
    ("name", "roles", "password", "said"),
    [
        ("Ada Byron", ["viewer"], None, "lower-case letters"),
        ("ada", ["king"], None, "source, "),
        ("ada", [], None, "none"),
        ("ada", ["viewer"], "short", "5 characters: expected 12"),
    ],
)
async def test_what_is_no_user_is_refused(
    accounts: Accounts, name: str, roles: list[str], password: str | None, said: str
) -> None:
    with pytest.raises(SettingsInvalid, match=said):
        await accounts.create(name, roles, made_by="user:test", password=password)


async def test_a_name_is_given_once(accounts: Accounts) -> None:
    await accounts.create("ada", ["viewer"], made_by="user:test")

    with pytest.raises(SettingsInvalid, match="already"):
        await accounts.create("ada", ["admin"], made_by="user:test")


async def test_a_password_is_kept_as_a_slow_hash_of_its_own(postgres_address: str) -> None:
    accounts = Accounts(postgres_address)
    await accounts.open()
    await accounts.create("ada", ["viewer"], made_by="user:test", password="correct horse")
    await accounts.create("bob", ["viewer"], made_by="user:test", password="correct horse")
    kept = [row["password"] for row in await accounts.fetch("select password from {schema}.users")]
    await accounts.aclose()

    assert all(each.startswith("scrypt$16384$8$5$") for each in kept)
    assert len(set(kept)) == 2
