"""Facts about who there is, and who is away: said in every partition, for its own decisions."""

from __future__ import annotations

from meshline.events.directory import Directory
from meshline.events.facts.fact import Fact

__all__ = ["DirectoryChanged"]


class DirectoryChanged(Fact):
    """From here on this is the directory; ``number`` counts the changes, from 1."""

    TYPE = "meshline.directory.changed"

    number: int
    directory_hash: str
    directory: Directory
    reason: str = ""
