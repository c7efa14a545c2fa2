"""Keys, users and sessions over HTTP, for admins of all teams; and one's own password."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel, Field

from meshline.api.access import requires
from meshline.api.accounts import PASSWORD_LENGTH_MAX
from meshline.api.admissions import Admissions
from meshline.api.answers import item_of, list_of
from meshline.api.context import After, Body, Limit
from meshline.api.desk import Desk
from meshline.api.principals import Permission
from meshline.api.problems import Denied, TooMany, documented
from meshline.events.people_requests import AccessChangeRequested
from meshline.projections.admitted import Granting, Key, Session, User
from meshline.projections.errors import NotFound
from meshline.projections.pages import Page, page_of_all

__all__ = ["admissions_of", "change_own", "router"]

router = APIRouter(prefix="/v1", tags=["keys and users"])
OVERLAP_S_MAX = 30 * 86_400.0

Admin = Annotated[Desk, Depends(requires(Permission.ACCESS))]
Changer = Annotated[Desk, Depends(requires(Permission.ACCESS, AccessChangeRequested))]
Themselves = Annotated[Desk, Depends(requires(None, AccessChangeRequested))]
Names = Annotated[list[str], Field(max_length=100)]
_READS = documented(404, 422)
_ACTS = documented(404, 411, 413, 415, 422)


class Because(Body):
    """Why; it stands in the audit."""

    reason: str = Field(min_length=1, max_length=2_000)


class Granted(Because):
    """What somebody may: roles, and the only workflows and queues that they see; none: all."""

    roles: Names
    workflows: Names | None = None
    queues: Names | None = None


class NewKey(Granted):
    """A key for `user:NAME` or `service:NAME`; `sources` are the only ones it may publish for."""

    actor: str = Field(max_length=206)
    sources: Names | None = None
    expires_at: AwareDatetime | None = None


class NewUser(Granted):
    """Somebody who signs in with a password."""

    name: str = Field(max_length=100)


class Rotation(Because):
    """So long the old key counts too."""

    overlap_s: float = Field(3_600.0, ge=0, le=OVERLAP_S_MAX)


class Ending(Because):
    """Whose sessions: `user:NAME`."""

    actor: str = Field(max_length=206)


class KeyMade(item_of(Key)):  # type: ignore[misc]  # a model that is made of the row
    """`key` is the secret text. It is told this once."""

    key: str


class UserMade(item_of(User)):  # type: ignore[misc]  # a model that is made of the row
    """`password` is told this once."""

    password: str


class Password(BaseModel):
    """It is told this once."""

    name: str
    password: str


class NewPassword(Body):
    """`old` is the one that counts now."""

    old: str = Field(max_length=PASSWORD_LENGTH_MAX)
    new: str = Field(max_length=PASSWORD_LENGTH_MAX)


class Changed(BaseModel):
    """Whose password it is."""

    name: str


class Ended(BaseModel):
    """How many sessions were ended."""

    sessions: int


def admissions_of(desk: Desk) -> Admissions:
    """Return who is let in.

    Raises:
        Denied: the principal sees one team, and keys are of all; the refusal is kept.
        NotFound: this server keeps no keys.
    """
    if desk.principal.scope is not None:
        denied = Denied(
            f"{desk.principal.actor.id} sees one team: expected somebody without such limits, for "
            "keys are of all teams. Ask an admin."
        )
        desk.refused(denied)
        raise denied
    return _kept(desk)


def _kept(desk: Desk) -> Admissions:
    found = desk.services.admissions
    if found is None:
        raise NotFound("This server keeps no keys: ask where they are kept.")
    return found


async def change_own(desk: Desk, old: str, new: str, session: str | None = None) -> None:
    """Give the principal another password; see ``change_own_password``. A refusal is kept."""
    try:
        await _kept(desk).change_own_password(old, new, by=desk.principal.actor, session=session)
    except (Denied, TooMany) as error:
        desk.refused(error)
        raise


def _page(page: Page[Any]) -> dict[str, Any]:
    return {"items": [row._asdict() for row in page.rows], "next": page.next}


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


@router.get("/keys", response_model=list_of(Key), responses=_READS)
async def list_keys(desk: Admin, limit: Limit = 50, after: After = None) -> Any:
    """List the keys that there ever were, the newest first, without their secrets."""
    return _page(
        page_of_all(
            await admissions_of(desk).keys(), lambda k: [-_micros(k.made_at), k.id],
            kinds=[int, str], limit=limit, after=after,
        )
    )  # fmt: skip


@router.post("/keys", status_code=201, response_model=KeyMade, responses=_ACTS)
async def create_key(desk: Changer, body: NewKey) -> Any:
    """Make a key and tell its secret, this once."""
    granting = Granting(body.roles, body.sources, body.workflows, body.queues)
    made, secret = await admissions_of(desk).create_key(
        body.actor, granting, by=desk.principal.actor, expires_at=body.expires_at,
        reason=body.reason,
    )  # fmt: skip
    return {"key": secret, **made._asdict()}


@router.post("/keys/{key}/rotate", status_code=201, response_model=KeyMade, responses=_ACTS)
async def rotate_key(desk: Changer, key: str, body: Rotation) -> Any:
    """Make a key that may do what an old one may, which ends after the overlap."""
    made, secret = await admissions_of(desk).rotate_key(
        key, by=desk.principal.actor, overlap_s=body.overlap_s, reason=body.reason
    )
    return {"key": secret, **made._asdict()}


@router.post("/keys/{key}/revoke", response_model=item_of(Key), responses=_ACTS)
async def revoke_key(desk: Changer, key: str, body: Because) -> Any:
    """Let a key count no more, on every server within seconds."""
    admissions = admissions_of(desk)
    revoked = await admissions.revoke_key(key, by=desk.principal.actor, reason=body.reason)
    return revoked._asdict()


@router.get("/users", response_model=list_of(User), responses=_READS)
async def list_users(desk: Admin, limit: Limit = 50, after: After = None) -> Any:
    """List who can sign in to the console with a password."""
    users = await admissions_of(desk).users()
    return _page(page_of_all(users, lambda u: [u.name], kinds=[str], limit=limit, after=after))


@router.post("/users", status_code=201, response_model=UserMade, responses=_ACTS)
async def create_user(desk: Changer, body: NewUser) -> Any:
    """Make a user and tell the password, this once."""
    user, password = await admissions_of(desk).create_user(
        body.name, _granting(body), by=desk.principal.actor, reason=body.reason
    )
    return {"password": password, **user._asdict()}


@router.post("/users/{user}/change", response_model=item_of(User), responses=_ACTS)
async def change_user(desk: Changer, user: str, body: Granted) -> Any:
    """Give a user other roles and another scope; sessions that are open follow at once."""
    changed = await admissions_of(desk).change_user(
        user, _granting(body), by=desk.principal.actor, reason=body.reason
    )
    return changed._asdict()


@router.post("/users/{user}/password", response_model=Password, responses=_ACTS)
async def change_password(desk: Changer, user: str, body: Because) -> Any:
    """Give a user a new password and tell it, this once; their sessions end."""
    admissions = admissions_of(desk)
    made = await admissions.change_password(user, by=desk.principal.actor, reason=body.reason)
    return Password(name=user, password=made)


@router.post("/account/password", response_model=Changed, responses=_ACTS)
async def change_own_password(desk: Themselves, body: NewPassword) -> Any:
    """Give oneself another password, by the old one; one's sessions end. Everybody may."""
    await change_own(desk, body.old, body.new)
    return Changed(name=desk.principal.actor.id.partition(":")[2])


@router.post("/users/{user}/remove", response_model=item_of(User), responses=_ACTS)
async def remove_user(desk: Changer, user: str, body: Because) -> Any:
    """Let a user sign in no more; their sessions end."""
    admissions = admissions_of(desk)
    removed = await admissions.remove_user(user, by=desk.principal.actor, reason=body.reason)
    return removed._asdict()


@router.get("/sessions", response_model=list_of(Session), responses=_READS)
async def list_sessions(desk: Admin, limit: Limit = 50, after: After = None) -> Any:
    """List who is signed in to the console, those that did something last first."""
    return _page(
        page_of_all(
            await admissions_of(desk).sessions(),
            lambda s: [-_micros(s.seen_at), _micros(s.begun_at), s.actor],
            kinds=[int, int, str], limit=limit, after=after,
        )
    )  # fmt: skip


@router.post("/sessions/end", response_model=Ended, responses=_ACTS)
async def end_sessions(desk: Changer, body: Ending) -> Any:
    """Sign somebody out wherever they are signed in to the console."""
    ended = await admissions_of(desk).end_sessions(
        body.actor, by=desk.principal.actor, reason=body.reason
    )
    return Ended(sessions=ended)


def _granting(body: Granted) -> Granting:
    return Granting(body.roles, None, body.workflows, body.queues)
