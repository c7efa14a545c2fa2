"""The web console: the visible route from signal to outcome, for the people who operate it."""

from __future__ import annotations

from meshline.console.app import beside, create_console

__all__ = ["beside", "create_console"]
