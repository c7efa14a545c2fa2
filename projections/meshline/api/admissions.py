"""Letting in and shutting out: keys of the API, users and sessions of the console.

Each act is told to the log before it is done, so nothing is done of which nobody can see who did it
and why. Only what takes something away is done although the log does not answer: a key that was
stolen can't wait for it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime

from meshline.api.accounts import Accounts, check_password, check_user
from meshline.api.keys import ApiKeys, check_actor, check_roles, new_key_id
from meshline.api.problems import Denied
from meshline.events.clock import Clock, SystemClock
from meshline.events.envelope import Actor
from meshline.events.errors import LogUnavailable, SettingsInvalid
from meshline.events.people_requests import ACCESS, AccessChangeRequested
from meshline.events.publish import Publisher
from meshline.projections.admitted import Granting, Key, Session, User
from meshline.projections.errors import NotFound

__all__ = ["Admissions", "Tell", "told_with"]

_logger = logging.getLogger("meshline.audit")
NAMES_MAX, NAME_LENGTH_MAX = 100, 300
ABOUT_LENGTH_MAX = 500

Tell = Callable[[Actor, AccessChangeRequested], Awaitable[None]]


def told_with(publisher: Publisher) -> Tell:
    """Return what appends an act to the log, in the name of who does it."""

    async def tell(by: Actor, asked: AccessChangeRequested) -> None:
        await publisher.request(ACCESS, asked, actor=by)

    return tell


class Admissions:
    """Args:
    tell: appends what is about to be done; see ``told_with``.
    """

    def __init__(
        self, keys: ApiKeys, accounts: Accounts, tell: Tell, *, clock: Clock | None = None
    ) -> None:
        self._keys = keys
        self._accounts = accounts
        self._tell = tell
        self._clock = clock or SystemClock()

    # -- keys ----------------------------------------------------------------------------------

    async def keys(self) -> list[Key]:
        """Return every key that there ever was, the newest first."""
        return await self._keys.all()

    async def create_key(
        self,
        actor: str,
        granting: Granting,
        *,
        by: Actor,
        expires_at: datetime | None = None,
        reason: str = "",
    ) -> tuple[Key, str]:
        """Return a new key, and its secret text, which nobody can tell again.

        Raises:
            SettingsInvalid: actor, roles or names can't be these, or it would be over already.
            LogUnavailable: it could not be told, and was not done.
        """
        check_actor(actor)
        _check_granting(granting)
        if expires_at is not None and expires_at <= self._clock.now():
            raise SettingsInvalid(
                f"The key would end at {expires_at:%Y-%m-%d %H:%M} UTC, which is over: expected a "
                "later time."
            )
        key_id = new_key_id()
        until = "" if expires_at is None else f"; until {expires_at:%Y-%m-%d %H:%M} UTC"
        await self._give("create key", f"mlk_{key_id} of {actor} {granting}{until}", by, reason)
        return await self._keys.create(
            actor, granting.roles, made_by=by.id, sources=granting.sources,
            workflows=granting.workflows, queues=granting.queues, expires_at=expires_at,
            key_id=key_id,
        )  # fmt: skip

    async def rotate_key(
        self, key_id: str, *, by: Actor, overlap_s: float = 3_600.0, reason: str = ""
    ) -> tuple[Key, str]:
        """Return a key that may do what an old one may, and its secret text; see ``rotate``.

        Raises:
            NotFound: there is no such key, or it counts no more.
            LogUnavailable: it could not be told, and was not done.
        """
        old, new_id = await self._keys.one(key_id), new_key_id()
        about = f"mlk_{old.id} of {old.actor}: mlk_{new_id} takes its place"
        await self._give("rotate key", about, by, reason)
        return await self._keys.rotate(
            key_id, made_by=by.id, overlap_s=overlap_s, new_id=new_id
        )  # fmt: skip

    async def revoke_key(self, key_id: str, *, by: Actor, reason: str = "") -> Key:
        """Let a key count no more, on every server within seconds.

        Raises:
            NotFound: there is no such key.
        """
        key = await self._keys.one(key_id)
        await self._take("revoke key", f"mlk_{key.id} of {key.actor}", by, reason)
        return await self._keys.revoke(key_id, by=by.id, reason=reason)

    # -- users ---------------------------------------------------------------------------------

    async def users(self) -> list[User]:
        """Return all users, by name."""
        return await self._accounts.all()

    async def create_user(
        self, name: str, granting: Granting, *, by: Actor, reason: str = ""
    ) -> tuple[User, str]:
        """Return a new user and the password, which nobody can tell again.

        Raises:
            SettingsInvalid: name, roles or names can't be these, or there is such a user.
            LogUnavailable: it could not be told, and was not done.
        """
        check_user(name, granting.roles)
        _check_granting(granting)
        if any(user.name == name for user in await self._accounts.all()):
            raise SettingsInvalid(f"There is a user {name!r} already: expected another name.")
        await self._give("create user", f"user:{name} {granting}", by, reason)
        return await self._accounts.create(
            name, granting.roles, made_by=by.id, workflows=granting.workflows,
            queues=granting.queues,
        )  # fmt: skip

    async def change_user(
        self, name: str, granting: Granting, *, by: Actor, reason: str = ""
    ) -> User:
        """Give a user other roles and another scope, at once.

        Raises:
            NotFound: there is no such user.
            SettingsInvalid: roles or names can't be these, or an admin would stop being one.
            LogUnavailable: it could not be told, and was not done.
        """
        _check_granting(granting)
        await self._accounts.one(name)
        is_admin = "admin" in granting.roles and granting.workflows is None is granting.queues
        if not is_admin:
            _check_not_oneself(name, by)
        await self._give("change user", f"user:{name} {granting}", by, reason)
        return await self._accounts.change(
            name, granting.roles, workflows=granting.workflows, queues=granting.queues
        )

    async def change_password(self, name: str, *, by: Actor, reason: str = "") -> str:
        """Return a user's new password; who is signed in with the old one is no longer.

        Raises:
            NotFound: there is no such user.
            LogUnavailable: it could not be told, and was not done.
        """
        await self._accounts.one(name)
        await self._give("change password", f"user:{name}", by, reason)
        return await self._accounts.set_password(name)

    async def change_own_password(
        self, old: str, new: str, *, by: Actor, session: str | None = None
    ) -> None:
        """Give oneself another password; one's other sessions end.

        Args:
            session: the secret of the one that goes on; None: all end.
        Raises:
            NotFound: one has no password here.
            Denied: the old one is wrong.
            TooMany: there were too many wrong ones.
            SettingsInvalid: the new one is too short, or the old one.
            LogUnavailable: it could not be told, and was not done.
        """
        name = await self._own_name(by)
        check_password(new)
        if new == old:
            raise SettingsInvalid("The new password is the old one: expected another.")
        was = await self._accounts.proven(name, old)
        if was is None:
            raise _wrong_password()
        await self._give("change password", by.id, by, "their own")
        if not await self._accounts.replace_password(name, was, new, session=session):
            raise _wrong_password()

    async def _own_name(self, by: Actor) -> str:
        kind, _, name = by.id.partition(":")
        if kind == "user":
            with suppress(NotFound):
                return (await self._accounts.one(name)).name
        raise NotFound(
            f"{by.id} has no password here: who signs in with an identity provider changes it "
            "there, and who has a key has another one made."
        )

    async def remove_user(self, name: str, *, by: Actor, reason: str = "") -> User:
        """Let a user sign in no more, end their sessions, and return who it was.

        Raises:
            NotFound: there is no such user.
            SettingsInvalid: it is oneself.
        """
        user = await self._accounts.one(name)
        _check_not_oneself(name, by)
        await self._take("remove user", f"user:{name}", by, reason)
        await self._accounts.remove(name)
        return user

    # -- sessions ------------------------------------------------------------------------------

    async def sessions(self) -> list[Session]:
        """Return who is signed in, those that did something last first."""
        return await self._accounts.sessions()

    async def end_sessions(self, actor: str, *, by: Actor, reason: str = "") -> int:
        """Sign somebody out wherever they are signed in, and return how often that was.

        Raises:
            SettingsInvalid: that can be nobody.
        """
        check_actor(actor)
        await self._take("end sessions", actor, by, reason)
        return await self._accounts.end_sessions(actor)

    # -- telling -------------------------------------------------------------------------------

    async def _give(self, action: str, about: str, by: Actor, reason: str) -> None:
        asked = AccessChangeRequested.model_validate(
            {"action": action, "about": about[:ABOUT_LENGTH_MAX], "reason": reason}
        )
        await self._tell(by, asked)

    async def _take(self, action: str, about: str, by: Actor, reason: str) -> None:
        try:
            await self._give(action, about, by, reason)
        except LogUnavailable as error:
            _logger.error("%s does this untold: %s: %s (%s)", by.id, action, about, error.message)


def _wrong_password() -> Denied:
    return Denied(
        "The old password is wrong: expected the one that you sign in with. Nothing was changed; "
        "an admin can give you a new one."
    )


def _check_not_oneself(name: str, by: Actor) -> None:
    if by.id == f"user:{name}":
        raise SettingsInvalid(
            f"You are {name}, and would shut yourself out: ask another admin, or use "
            "`meshline user` where the views are."
        )


def _check_granting(granting: Granting) -> None:
    """Raise ``SettingsInvalid`` where nobody can be granted this."""
    check_roles(granting.roles)
    for names in (granting.sources, granting.workflows, granting.queues):
        wrong = [n for n in names or () if not n.strip() or not n.isprintable()]
        if wrong or len(names or ()) > NAMES_MAX or max(map(len, names or [""])) > NAME_LENGTH_MAX:
            raise SettingsInvalid(
                f"The sources, workflows and queues are {NAMES_MAX} at most, of "
                f"{NAME_LENGTH_MAX} characters that can be seen: expected names such as "
                "team:emea. Correct them."
            )
