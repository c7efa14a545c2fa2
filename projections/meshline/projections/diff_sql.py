"""The statements that compare one table of two versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshline.projections.postgres_schema import quoted

__all__ = ["TableDiffSql", "compared"]

ALIKE_MAX = 3
"""Samples of each way to differ."""


def compared(ours: Mapping[str, Any], theirs: Mapping[str, Any], table: str) -> bool:
    """Return whether rows of the table can be told to be the same row: its key has not changed."""
    return bool(ours[table]["key"] == theirs[table]["key"])


class TableDiffSql:
    """Statements about one pair of tables.

    ``create`` keeps, in a table of the session's own, the key of each row that differs: ``kind``
    says how, ``columns`` where.

    Args:
        paths: of the two tables, the old one first, quoted.
        shapes: of the two (see ``store.layout_of``).
    """

    drop = "drop table meshline_differing"

    def __init__(
        self, paths: tuple[str, ...], shapes: tuple[Mapping[str, Any], Mapping[str, Any]]
    ) -> None:
        (old, new), (before, after) = paths, shapes
        then = {name: sql_type for name, sql_type, _ in before["columns"]}
        now = {name: sql_type for name, sql_type, _ in after["columns"]}
        self.key: list[str] = before["key"]
        self.columns_added = [name for name in now if name not in then]
        self.columns_removed = [name for name in then if name not in now]
        rest = [name for name in then if name in now and name not in self.key]

        def sides(name: str) -> tuple[str, str]:
            # What has another type now is compared as its text.
            cast = "" if then[name] == now[name] else "::text"
            return f"o.{quoted(name)}{cast}", f"n.{quoted(name)}{cast}"

        same_key = " and ".join("{} = {}".format(*sides(name)) for name in self.key)
        is_new = f"o.{quoted(self.key[0])} is null"
        is_gone = f"n.{quoted(self.key[0])} is null"
        differs = " or ".join("{} is distinct from {}".format(*sides(name)) for name in rest)
        where = " ".join(
            f"case when {left} is distinct from {right} then {_literal(name)} end,"
            for name, (left, right) in ((name, sides(name)) for name in rest)
        ).rstrip(",")
        keys = ", ".join(
            "coalesce({}, {}) as k{}".format(*sides(name), n) for n, name in enumerate(self.key)
        )
        by_key = ", ".join(f"k{n}" for n in range(len(self.key)))
        self.create = f"""
            create temp table meshline_differing on commit drop as
            select {keys},
                   case when {is_new} then 'added' when {is_gone} then 'removed' else 'changed' end
                       as kind,
                   case when {is_new} or {is_gone} then '{{}}'::text[]
                        else array_remove(array[{where}]::text[], null) end as columns
            from {old} o full join {new} n on {same_key}
            where {is_new} or {is_gone}{f" or {differs}" if differs else ""}
        """
        self.kinds = "select kind, count(*) as rows from meshline_differing group by kind"
        self.columns = """
            select name, count(*) as rows from meshline_differing, unnest(columns) as name
            group by name order by rows desc, name
        """
        ours = " and ".join(f"{sides(name)[0]} = s.k{n}" for n, name in enumerate(self.key))
        theirs = " and ".join(f"{sides(name)[1]} = s.k{n}" for n, name in enumerate(self.key))
        self.samples = f"""
            with ranked as (
                select *, count(*) over alike as alike,
                       row_number() over (partition by kind, columns order by {by_key}) as place
                from meshline_differing
                window alike as (partition by kind, columns)
            ), s as (
                select * from ranked where place <= {ALIKE_MAX}
                order by place, alike desc, kind, columns limit $1
            )
            select s.kind, s.columns, s.alike, to_jsonb(o) as old, to_jsonb(n) as new
            from s left join {old} o on {ours} left join {new} n on {theirs}
            order by s.alike desc, s.kind, s.columns, {by_key}
        """


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
