"""The webhooks of an installation: a TOML file that only its owner may read.

A secret must be there in full to verify with: unlike an API key it can't be kept as a hash. The
file is read again when it changes, so a new webhook or secret needs no new start.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets as random_secrets
import stat
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from meshline.api.signatures import Scheme
from meshline.events.errors import SettingsInvalid
from meshline.projections.errors import NotFound

__all__ = ["Webhook", "Webhooks", "new_secret"]

TOLERANCE_S = 300.0
"""How far a sender's clock may be from ours, and so how long a captured request is good for."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
SECRETS_MAX = 5


class Webhook(BaseModel):
    """Args:
    source: where its triggers come from, as workflows name it.
    type: the trigger's type, where the source starts several workflows.
    id_pointer: where in the body the sender's id stands, such as ``/id``; else it is the id of the
        delivery.
    secrets: any of them may have signed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: Scheme
    source: str = Field(min_length=1, max_length=256)
    type: str = ""
    id_pointer: str | None = Field(None, pattern="^(/[^/]+)+$")
    tolerance_s: float = Field(TOLERANCE_S, gt=0, le=3_600)
    secrets: Annotated[list[str], Field(min_length=1, max_length=SECRETS_MAX)]

    @property
    def identity(self) -> str | None:
        """Where the id stands in the body; None: it is the delivery's."""
        return self.id_pointer or ("/id" if self.scheme == "stripe" else None)


_FILE = TypeAdapter(dict[str, Webhook])


class Webhooks:
    """Args:
    path: of the file; there may be none yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_at: tuple[int, int] | None = None
        self._known: dict[str, Webhook] = {}

    def all(self) -> dict[str, Webhook]:
        """Return every webhook by its name, as the file says now.

        Raises:
            SettingsInvalid: the file can't be read as such, or others may read it.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return {}
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise SettingsInvalid(
                f"Others may read {str(self.path)!r}, which holds secrets of webhooks: expected "
                f"a file for its owner alone. Type: chmod 600 {self.path}"
            )
        stamp = (found.st_mtime_ns, found.st_size)
        if stamp != self._read_at:
            self._known = self._read()
            self._read_at = stamp
        return self._known

    def create(self, name: str, webhook: Webhook) -> None:
        """Add a webhook.

        Raises:
            SettingsInvalid: the name is taken, or none.
        """
        known = self.all()
        if not _NAME.fullmatch(name) or name in known:
            raise SettingsInvalid(
                f"A webhook can't be called {name!r}: expected a new name of small letters, digits "
                f"and -. There are {', '.join(known) or 'none'}."
            )
        self._write(known | {name: webhook})

    def rotate(self, name: str, secret: str) -> Webhook:
        """Let a new secret count too; the newest before it still does, older ones no more."""
        known = self.all()
        webhook = self._named(name)
        changed = webhook.model_copy(update={"secrets": [secret, webhook.secrets[0]]})
        self._write(known | {name: changed})
        return changed

    def remove(self, name: str) -> None:
        """Take nothing more from a webhook."""
        self._named(name)
        self._write({each: found for each, found in self.all().items() if each != name})

    def _named(self, name: str) -> Webhook:
        try:
            return self.all()[name]
        except KeyError:
            raise NotFound(
                f"There is no webhook {name!r}: `meshline webhook list` shows them."
            ) from None

    def _read(self) -> dict[str, Webhook]:
        try:
            content = tomllib.loads(self.path.read_text("utf-8"))
            return _FILE.validate_python(content.get("webhooks", {}))
        except (OSError, ValueError) as error:
            said = error.errors()[0] if isinstance(error, ValidationError) else None
            # Not the whole: what is wrong may be a secret.
            what = f"{'.'.join(map(str, said['loc']))}: {said['msg']}" if said else str(error)
            raise SettingsInvalid(
                f"Cannot read {str(self.path)!r}: {what}. Expected [webhooks.NAME] with scheme, "
                "source and secrets. Correct the file."
            ) from None

    def _write(self, webhooks: dict[str, Webhook]) -> None:
        """Whole or not at all, and for this user only."""
        lines = ["# Webhooks, with the secrets that verify them. Written by `meshline webhook`."]
        for name, webhook in webhooks.items():
            lines.append(f"\n[webhooks.{name}]")
            for field, value in webhook.model_dump(exclude_defaults=True).items():
                lines.append(f"{field} = {json.dumps(value, ensure_ascii=False)}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        new.touch(mode=0o600)
        new.chmod(0o600)
        new.write_text("\n".join(lines) + "\n", "utf-8")
        new.replace(self.path)
        self._read_at = None


def new_secret(scheme: Scheme) -> str:
    """Return a secret in the form that senders of the scheme take."""
    raw = random_secrets.token_bytes(32)
    return f"whsec_{base64.b64encode(raw).decode()}" if scheme == "standard" else raw.hex()
