"""How often one key may ask: a bucket of tokens for each, filled again as time goes on."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from meshline.api.problems import TooMany

__all__ = ["Rates"]

KNOWN_MAX = 10_000
"""Keys whose buckets are kept; one that was long not used is full anyway."""


class Rates:
    """Args:
    per_s: tokens that come back in a second.
    burst_max: tokens in a full bucket.
    """

    def __init__(self, per_s: float, burst_max: int) -> None:
        self._per_s = per_s
        self._burst_max = burst_max
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Take a token.

        Raises:
            TooMany: there is none now.
        """
        now_s = asyncio.get_running_loop().time()
        tokens, at_s = self._buckets.pop(name, (float(self._burst_max), now_s))
        tokens = min(self._burst_max, tokens + (now_s - at_s) * self._per_s)
        is_there = tokens >= 1
        self._buckets[name] = (tokens - 1 if is_there else tokens, now_s)
        if len(self._buckets) > KNOWN_MAX:
            self._buckets.popitem(last=False)
        if not is_there:
            raise TooMany(
                f"There are more than {self._per_s:g} requests a second: expected fewer. Nothing "
                "was taken; come again when Retry-After says.",
                (1 - tokens) / self._per_s,
            )
