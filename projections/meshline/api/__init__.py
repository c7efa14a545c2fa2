"""The HTTP API: what the command line does, for programs and for the console."""

from __future__ import annotations

from meshline.api.app import ApiSettings, create_api

__all__ = ["ApiSettings", "create_api"]
