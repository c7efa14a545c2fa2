"""People who read a view while it is swapped under them, and who know what they have written."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import asyncpg

from meshline.events.envelope import Position
from meshline.projections.lag import reached
from tests.acceptance.support.places import Place, Views

__all__ = ["Answer", "Onlooker"]

PAUSE_S = 0.005
REACHED_S = 90.0


class Answer(NamedTuple):
    """One statement's: which version was live, where it stood, and what the stable names show."""

    version: int
    offsets: dict[int, int]
    runs: int
    last_numbers: int
    periods: int


@dataclass
class Onlooker:
    """Reads on through the stable names; no answer may be mixed, or older than one before."""

    place: Place
    views: Views
    answers: list[Answer] = field(default_factory=list)
    known: dict[int, int] = field(default_factory=dict)

    async def read_until(self, stop: asyncio.Event) -> None:
        connection = await asyncpg.connect(self.place.snapshots)
        try:
            while not stop.is_set():
                # What is seen elsewhere while this is being answered may be newer.
                known = dict(self.known)
                answer = await self._read(connection)
                self.check(answer, known)
                self.answers.append(answer)
                await asyncio.sleep(PAUSE_S)
        finally:
            await connection.close()

    async def _read(self, connection: Any) -> Answer:
        names = self.views.namespace
        row = await connection.fetchrow(f"""
            select v.version,
                   (select array_agg(array[c.partition, c.next_offset])
                    from {names}_views.checkpoints c
                    where (c.name, c.version, c.build) = (v.name, v.version, v.build)),
                   (select count(*) from {names}.ownership),
                   (select sum(number) from {names}.ownership),
                   (select count(*) from {names}.ownership_periods)
            from {names}_views.views v where v.name = 'ownership' and v.state = 'live'
        """)
        return Answer(row[0], dict(row[1]), *tuple(row)[2:])

    def check(self, answer: Answer, known: dict[int, int]) -> None:
        assert answer.last_numbers == answer.periods, f"a mixed answer: {answer}"
        assert all(answer.offsets[p] >= at for p, at in known.items()), (
            f"stale: {answer}, though {known} was seen"
        )
        if self.answers:
            assert answer.runs >= self.answers[-1].runs, f"stale: {answer}"
        for partition, offset in answer.offsets.items():
            self.known[partition] = max(offset, self.known.get(partition, 0))

    async def see(self, run_id: str, positions: list[Position]) -> None:
        """Wait for what was written, and find it through the stable names."""
        await reached(self.views.store, positions, ["ownership"], timeout_s=REACHED_S)
        for position in positions:
            self.known[position.partition] = max(
                position.offset + 1, self.known.get(position.partition, 0)
            )
        found = await self.views.query(
            "select count(*) from {ns}.ownership where run_id = $1", run_id
        )
        assert found[0][0] == 1, f"{run_id} was written and is not there"
