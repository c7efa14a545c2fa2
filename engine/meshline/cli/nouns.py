"""What there is to type: each noun, the module that knows it, and one line about it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["NOUNS", "Noun"]


class Noun(NamedTuple):
    """One first word of the command line. ``module`` is imported when it is typed."""

    name: str
    module: str
    section: str
    about: str


NOUNS = {
    noun.name: noun
    for noun in (
        Noun("demo", "demo", "Run it", "see it work: 500 form submissions, on this machine"),
        Noun("dev", "dev", "Run it", "log, worker, projector and console in one process"),
        Noun("worker", "worker", "Run it", "carry out the workflows of an app; any number of them"),
        Noun("projector", "projector", "Run it", "keep the views up to date; any number of them"),
        Noun("serve", "serve", "Run it", "web console and HTTP API; any number of them"),
        Noun("publish", "publish", "Bring in", "triggers, from an argument, a file or a pipe"),
        Noun("feed", "feed", "Bring in", "the history of an observed workflow, case by case"),
        Noun("message", "message", "Bring in", "send what a run waits for"),
        Noun("run", "run", "See and act", "list, show, history, watch, cancel, pause, resume …"),
        Noun("explain", "explain", "See and act", "why: a run's start, owner, waits, skips, end …"),
        Noun("owner", "owner", "See and act", "who owns what now, and giving it to another"),
        Noun("exception", "exception", "See and act", "list, show, groups, retry, skip, assign …"),
        Noun("bulk", "bulk", "See and act", "many exceptions at once: preview, confirm, apply …"),
        Noun("work", "work", "See and act", "what is yours to decide, and how much others have"),
        Noun("task", "task", "See and act", "list, show, complete, claim, delegate …"),
        Noun("approval", "approval", "See and act", "list, approve, deny, claim, delegate …"),
        Noun("trigger", "trigger", "See and act", "accepted, repeated, rejected; resubmit"),
        Noun("audit", "audit", "Look after", "who asked for what, and who read payloads"),
        Noun("directory", "directory", "Look after", "who there is: check, apply, show"),
        Noun("workflow", "workflow", "Look after", "list: the definitions that the log knows"),
        Noun("view", "view", "Look after", "list: how far the views are behind the log"),
        Noun("log", "log", "Look after", "create, info, tail, seal, copy"),
        Noun("key", "key", "Look after", "keys of the HTTP API: create, list, rotate, revoke"),
        Noun("webhook", "webhook", "Look after", "senders that sign: create, list, rotate, remove"),
        Noun("user", "user", "Look after", "who signs in to the console: create, list, password"),
        Noun("check", "check", "Look after", "an app's workflows: the five questions, findings"),
        Noun("verify", "verify", "Look after", "is the history whole, do the invariants hold"),
        Noun("doctor", "doctor", "Look after", "is everything as it must be; what to do if not"),
    )
}
