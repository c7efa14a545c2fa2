"""What of the views belongs to one team: rows of its workflows, in its queues.

A scope is laid over the tables that a query reads, not over its answer: a query that reads a table
for which no rule stands here can't be asked within a scope. Who has none sees all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from meshline.projections import exception_view
from meshline.projections.errors import NotFound

__all__ = ["Scope"]

_TABLE = re.compile(r"\{ns\}\.(\w+)(?:\s+as\s+(\w+))?")

# {w} and {q} stand for the workflows and the queues, {ns} for the namespace.
_WORKFLOW = "({w} is null or workflow = any({w}))"
_RUNS = (
    f"{_WORKFLOW} and ({{q}} is null or owner = any({{q}}) or assignee = any({{q}})"
    " or exception_route = any({q}))"
)
_OF_A_RUN = f"run_id in (select run_id from {{ns}}.runs where {_RUNS})"
_EXCEPTIONS = (
    f"{_WORKFLOW} and ({{q}} is null or owner = any({{q}}) or route = any({{q}}) or {_OF_A_RUN})"
)
_RULES = {
    "runs": _RUNS,
    "history": _OF_A_RUN,
    "audit": _OF_A_RUN,
    "ownership": _OF_A_RUN,
    "ownership_periods": _OF_A_RUN,
    "handovers": _OF_A_RUN,
    "exceptions": _EXCEPTIONS,
    "tasks": (
        f"{_WORKFLOW} and ({{q}} is null or owner = any({{q}}) or by = any({{q}}) or {_OF_A_RUN})"
    ),
    # One that became no run is of no workflow: it is shown to those who have all of its source.
    "triggers": (
        f"({_OF_A_RUN} or (workflow is null and source in"
        " (select source from {ns}.workflows group by source"
        f" having bool_and({_WORKFLOW} and ({{q}} is null or owner = any({{q}})"
        " or exception_route = any({q}))))))"
    ),
    # Who there is, is no team's: a caller that shows it says who may see what of it.
    "directories": "true",
    "absences": "true",
    "workflows": (
        f"{_WORKFLOW} and ({{q}} is null or owner = any({{q}}) or exception_route = any({{q}}))"
    ),
}


class Scope(NamedTuple):
    """Args:
    workflows: names; None: all.
    queues: owners, assignees and exception routes, such as ``team:emea``; None: all. Where both
        are given, both must hold.
    """

    workflows: frozenset[str] | None = None
    queues: frozenset[str] | None = None

    def holds(self, row: Any) -> bool:
        """Return whether a row of runs, exceptions or tasks is this team's by itself.

        An exception or task is its too where its run is.
        """
        if self.workflows is not None and row.workflow not in self.workflows:
            return False
        if self.queues is None:
            return True
        names = ("owner", "assignee", "exception_route", "route", "by")
        return any(getattr(row, name, None) in self.queues for name in names)

    def narrowed(self, sql: str, arguments: Sequence[Any]) -> tuple[str, list[Any]]:
        """Return the query over this team's rows alone; ``{ns}`` is still to be filled in.

        Raises:
            NotFound: it reads a table of which nobody can say whose its rows are.
        """
        workflows, queues = f"${len(arguments) + 1}::text[]", f"${len(arguments) + 2}::text[]"

        def ruled(table: str) -> str:
            if table == "exception_groups":
                grouped: str = exception_view.projection.queries["exception_groups"]
                tables = {
                    "exceptions": ruled("exceptions") + " as exceptions",
                    # What is said of a cause says nothing of a run.
                    "cause_resolutions": "{ns}.cause_resolutions",
                }
                return f"({grouped.format_map(tables)})"
            rule = _RULES.get(table)
            if rule is None:
                raise NotFound(
                    f"The table {table!r} can't be narrowed to a team: expected one of "
                    f"{', '.join(_RULES)}. Ask somebody whose key has no workflows or queues."
                )
            where = rule.replace("{w}", workflows).replace("{q}", queues)
            # Both are mentioned, whatever the rule says: a statement must use all its arguments.
            used = f"({workflows} is null or true) and ({queues} is null or true)"
            return f"(select * from {{ns}}.{table} where {used} and {where})"

        narrowed, count = _TABLE.subn(lambda m: f"{ruled(m[1])} as {m[2] or m[1]}", sql)
        if '{ns}."' in narrowed:
            raise NotFound("A table by any name can't be narrowed to a team: ask for another key.")
        if not count:
            return sql, [*arguments]
        return narrowed, [*arguments, _listed(self.workflows), _listed(self.queues)]


def _listed(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)
