"""The life of a run as a page for people, made from the table of transitions."""

from __future__ import annotations

from meshline.engine.core.state import ENDED
from meshline.engine.core.transitions import SAME, STATUSES, TRANSITIONS
from meshline.events.facts import Fact

__all__ = ["transitions_page"]

_INTRODUCTION = """\
# The life of a run

Made from `engine/meshline/engine/core/transitions.py`: change the table there, then run
`python docs/generate_transitions.py`. A test compares this page with the table.

A fact that is not listed under a status is never said about a run in that status; if one stands in
a log all the same, it changes nothing.
"""


def transitions_page() -> str:
    """Return the page as Markdown: a diagram, and for each status the facts and what follows."""
    return "\n".join([_INTRODUCTION, *_diagram(), "", *_tables()])


def _diagram() -> list[str]:
    """Return a Mermaid diagram; arrows with the same ends share one label."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> accepted: TriggerAccepted"]
    for before in STATUSES:
        for after in STATUSES:
            facts = [
                fact.__name__
                for (status, fact), then in TRANSITIONS.items()
                if status == before and then == after != before
            ]
            if facts:
                lines.append(f"    {before} --> {after}: {_label(facts)}")
    lines += [f"    {status} --> [*]" for status in STATUSES if status in ENDED]
    return [*lines, "```"]


def _label(facts: list[str]) -> str:
    if len(facts) <= 2:
        return ", ".join(facts)
    return f"{facts[0]} and {len(facts) - 1} others"


def _tables() -> list[str]:
    lines: list[str] = []
    for status in STATUSES:
        moves: dict[str, list[type[Fact]]] = {}
        for (before, fact), then in TRANSITIONS.items():
            if before == status:
                moves.setdefault(then, []).append(fact)
        lines += [f"## {status}", "", "| then | facts |", "|---|---|"]
        for then in (SAME, *STATUSES):
            if then in moves:
                names = ", ".join(sorted(f"`{fact.__name__}`" for fact in moves[then]))
                lines.append(f"| {'stays' if then == SAME else then} | {names} |")
        lines.append("")
    return lines
