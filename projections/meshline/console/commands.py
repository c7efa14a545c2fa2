"""What a button does, as people type it: with the command line, and with curl."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from meshline.projections.owner_queries import Possession

__all__ = [
    "Typed",
    "absence_typed",
    "bulk_typed",
    "exception_typed",
    "group_typed",
    "handover_typed",
    "list_typed",
    "run_typed",
    "task_act_typed",
    "task_typed",
    "view_typed",
]


class Typed(NamedTuple):
    """The same as a form, to be copied."""

    cli: str
    curl: str


def run_typed(origin: str, run_id: str, action: str) -> Typed:
    """Return what does this to a run."""
    reason = ["--reason", "…"]
    words = ["meshline", "run", action, run_id[:8], *reason]
    body: dict[str, Any] = {"reason": "…"}
    if action == "owner":
        words = ["meshline", "owner", "assign", run_id[:8], "team:…", *reason]
        body = {"owner": "team:…", "reason": "…"}
    if action == "note":
        words = ["meshline", "run", "note", run_id[:8], "…"]
        body = {"text": "…"}
    if action == "message":
        words = ["meshline", "message", "send", run_id[:8], "…", "{…}"]
        body = {"name": "…", "payload": {"…": "…"}}
    path = {"note": "notes", "message": "messages"}.get(action, action)
    return Typed(_words(words), _curl(f"{origin}/v1/runs/{run_id}/{path}", body))


def exception_typed(origin: str, exception_id: str, action: str) -> Typed:
    """Return what does this about an exception."""
    asked = "retry" if action == "edit" else action
    words = ["meshline", "exception", asked, exception_id, "--reason", "…"]
    body: dict[str, Any] = {"action": asked, "reason": "…"}
    if action == "edit":
        words += ["--set", "trigger/…=…"]
        body["corrections"] = [{"of": "trigger", "path": "/…", "value": "…"}]
    if action == "assign":
        words.insert(3, "team:…")
        body["owner"] = "team:…"
    if action == "skip":
        words += ["--value", "{…}"]
        body["value"] = {"…": "…"}
    return Typed(_words(words), _curl(f"{origin}/v1/exceptions/{exception_id}/actions", body))


def group_typed(origin: str, cause: str, action: str) -> Typed:
    """Return what says this of a group of exceptions."""
    words = ["meshline", "exception", "group", action, cause]
    body: dict[str, Any] = {"action": action, "reason": "…"}
    if action == "resolve":
        words += ["--in-version", "…"]
        body["in_version"] = 2
    path = f"{origin}/v1/exception-groups/{cause}/actions"
    return Typed(_words([*words, "--reason", "…"]), _curl(path, body))


def task_typed(origin: str, run_id: str, task: str, end: str, form: bool) -> Typed:
    """Return what ends an approval or a task so."""
    if end == "completed":
        words, noun = ["meshline", "task", "complete", run_id[:8], task], "tasks"
        body: dict[str, Any] = {}
    else:
        verb = {"approved": "approve", "denied": "deny"}[end]
        words, noun = ["meshline", "approval", verb, run_id[:8], task], "approvals"
        body = {"decision": end}
    if form and end != "denied":
        words += ["--form", "{…}"]
        body["form"] = {"…": "…"}
    if end == "denied":
        words += ["--reason", "…"]
        body["reason"] = "…"
    return Typed(_words(words), _curl(f"{origin}/v1/runs/{run_id}/{noun}/{task}", body))


def task_act_typed(origin: str, run_id: str, task: str, action: str) -> Typed:
    """Return what does this about work for people, short of ending it."""
    words = ["meshline", "task", action, run_id[:8], task]
    body: dict[str, Any] = {"action": action}
    if action in ("assign", "delegate"):
        words += ["--to", "user:…"]
        body["to"] = "user:…"
    if action == "comment":
        words += ["--text", "…"]
    elif action != "claim":
        words += ["--reason", "…"]
    if action != "claim":
        body["reason"] = "…"
    path = f"/v1/runs/{run_id}/tasks/{quote(task, safe='')}/actions"
    return Typed(_words(words), _curl(f"{origin}{path}", body))


def absence_typed(origin: str, user: str) -> Typed:
    """Return what says that somebody is away."""
    words = ["meshline", "owner", "away", user, "--from", "…", "--until", "…"]
    body = {"user": user, "substitute": "user:…", "since": "…", "until": "…"}
    return Typed(_words([*words, "--substitute", "user:…"]), _curl(f"{origin}/v1/absences", body))


def handover_typed(origin: str, owner: str, things: Sequence[Possession]) -> Typed:
    """Return what gives all of it to another, and with curl the first thing."""
    words = ["meshline", "owner", "handover", owner, "team:…", "--yes", "--reason", "…"]
    first = things[0] if things else None
    body = {
        "kind": first.kind if first else "run", "about": first.about if first else "",
        "previous": owner, "owner": "team:…", "reason": "…",
    }  # fmt: skip
    path = f"/v1/runs/{first.run_id if first else '…'}/handover"
    return Typed(_words(words), _curl(f"{origin}{path}", body))


def bulk_typed(origin: str, action: str, chosen: Mapping[str, str]) -> Typed:
    """Return what makes a list of many, to be looked at; ``edit`` is a retry with corrections."""
    done = "retry" if action == "edit" else action
    words = ["meshline", "bulk", "preview", done]
    for name, value in chosen.items():
        words += [f"--{name.replace('_', '-')}", value]
    body: dict[str, Any] = {"action": done, "chosen": dict(chosen), "reason": "…"}
    if action == "edit":
        words += ["--set", 'trigger/…="…"']
        body["corrections"] = [{"of": "trigger", "path": "/…", "value": "…"}]
    if action in ("assign", "hand_over"):
        words += ["--to", "team:…"]
        body["owner"] = "team:…"
    if action == "skip":
        words += ["--value", "{…}"]
        body["value"] = {"…": "…"}
    return Typed(_words([*words, "--reason", "…"]), _curl(f"{origin}/v1/bulk-lists", body))


def view_typed(origin: str, view: str, action: str) -> Typed:
    """Return what does this to a view."""
    path = {"rebuild": "rebuilds", "swap": "swap", "rollback": "rollback"}.get(
        action, f"rebuilds/{action}"
    )
    words = ["meshline", "view", action, view]
    return Typed(_words(words), _curl(f"{origin}/v1/views/{view}/{path}", {}))


def list_typed(origin: str, name: str, verb: str) -> Typed:
    """Return what applies a list of many, or agrees to it."""
    words = ["meshline", "bulk", verb, name]
    return Typed(_words(words), _curl(f"{origin}/v1/bulk-lists/{name}/{verb}", {}))


def _words(words: list[str]) -> str:
    return " ".join(shlex.quote(word) if word not in ("…", "team:…", "user:…") else f"'{word}'"
                    for word in words)  # fmt: skip


def _curl(address: str, body: dict[str, Any]) -> str:
    sent = shlex.quote(orjson.dumps(body).decode())
    return f'curl -f -H "Authorization: Bearer $KEY" --json {sent} {shlex.quote(address)}'
