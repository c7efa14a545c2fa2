"""Tags of what is shown: who acts on what is no longer so is told before anything happens."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from meshline.api.answers import PAYLOAD_FIELDS
from meshline.api.problems import Stale

__all__ = ["check_tag", "is_known", "tag_of"]


def tag_of(row: Any) -> str:
    """Return the tag (ETag) of a row: another as soon as anything in it changes.

    Payloads are left out, so that a tag tells nothing of them; where one changes, so does the rest.
    """
    hidden = PAYLOAD_FIELDS.get(type(row), ())
    fields = {name: value for name, value in row._asdict().items() if name not in hidden}
    digest = hashlib.blake2b(orjson.dumps(fields), digest_size=12).hexdigest()
    return f'"{digest}"'


def is_known(header: str | None, row: Any) -> bool:
    """Return whether a list of tags, as in If-Match or If-None-Match, has the row's."""
    if header is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return "*" in tags or tag_of(row) in tags


def check_tag(row: Any, if_match: str | None) -> None:
    """Raise ``Stale`` where the asker saw something else than the row as it is now."""
    if if_match is None or is_known(if_match, row):
        return
    now = f"it is {row.state} now" if hasattr(row, "state") else "it is otherwise now"
    owner = f", with {row.owner}" if hasattr(row, "owner") else ""
    raise Stale(
        f"Somebody was quicker, or time went on: {now}{owner}. Expected what you saw, with the tag "
        f"{if_match[:60]}. Look again; nothing was done. The tag is {tag_of(row)} now."
    )
