"""Importing code that people change while Meshline runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["nothing_kept"]


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Import without writing compiled files.

    Those know the time of their source to the second only: what changes twice in one, and stays
    as long, would be taken for what it was before.
    """
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
