"""Pages out of templates: every value is text, whatever stands in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from meshline.console import words
from meshline.console.visit import Visit
from meshline.events.clock import SystemClock

__all__ = ["THEMES", "rendered"]

THEMES = ("system", "light", "dark")
_clock = SystemClock()


def rendered(
    request: Request, template: str, *, status: int = 200, headers: dict[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:  # fmt: skip
    """Return the page.

    Args:
        values: what the template is handed; ``now``, too, where the page is of another moment.
    """
    visit: Visit | None = getattr(request.state, "visit", None)
    theme = request.cookies.get("theme", "system")
    # On a page of the past, ages count from there.
    then = getattr(values.get("moment"), "time", None)
    now = values.pop("now", None) or then or _clock.now()
    text = _environment.get_template(template).render(
        visit=visit,
        path=request.url.path,
        here=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        search=request.url.query,
        origin=f"{request.url.scheme}://{request.url.netloc}",
        query=dict(request.query_params),
        is_live=request.query_params.get("live") != "off",
        switched=_switched(request),
        back_to_now=_without(request, "as_of", "by", "after"),
        theme=theme if theme in THEMES else "system",
        now=now,
        done=_DONE.get(request.query_params.get("done", "")),
        is_decided=request.query_params.get("how") != "appended",
        **values,
    )
    return HTMLResponse(text, status, headers=headers)


# What a form led to, by the word in the address: nobody can put other words on a page.
_DONE = {
    "retry": "It is tried again.",
    "claim": "It is yours.",
    "release": "It is given back.",
    "delegate": "Somebody else may do it for you.",
    "comment": "The comment is kept.",
    "completed": "It is done.",
    "away": "You are away, and somebody stands in.",
    "back": "You are back.",
    "skip": "The step is left out, and the run goes on.",
    "cancel": "The run is cancelled.",
    "message": "The message is sent.",
    "note": "The note is kept.",
    "pause": "The run is paused.",
    "resume": "The run goes on.",
    "owner": "The run has another owner.",
    "approved": "It is approved.",
    "denied": "It is denied.",
    "acknowledge": "It is acknowledged.",
    "start": "It is in progress.",
    "assign": "It has another owner.",
    "resolve": "It is resolved.",
    "dismiss": "It is dismissed.",
    "reopen": "It is open again, and nobody has seen it yet.",
    "cause-resolve": "It is mended, and opens again if it comes in that version.",
    "cause-reopen": "It is not mended after all.",
    "revoke": "The key counts no more, on every server within seconds.",
    "user-change": "The user may that from now on.",
    "user-remove": "The user can sign in no more.",
    "password": "You have another password now, and are signed in here alone.",
    "sessions-end": "They are signed out everywhere.",
    "confirm": "You agreed: it can be done now.",
    "parked-retry": "It was tried again: what is parked still is shown below.",
    "parked-skip": "The event is left out, and what waited behind it goes on.",
    "view-swap": "Another build is live.",
    "view-rollback": "The build that was live before is live again.",
}


def _switched(request: Request) -> str:
    """Return the address of this page kept up to date, or standing still: as it is not now."""
    query = [each for each in request.query_params.multi_items() if each[0] != "live"]
    if len(query) == len(request.query_params.multi_items()):
        query.append(("live", "off"))
    return request.url.path + (f"?{urlencode(query)}" if query else "")


def _without(request: Request, *names: str) -> str:
    given = request.query_params.multi_items()
    query = [(name, value) for name, value in given if value and name not in names]
    return request.url.path + (f"?{urlencode(query)}" if query else "")


def _finalize(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Markup):
        return words.visible(value)
    return "" if value is None else value


def _linked(path: str, **query: Any) -> str:
    given = {name: value for name, value in query.items() if value not in (None, "", [])}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def _time(value: datetime | str) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.astimezone(UTC)


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_finalize,
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=["jinja2.ext.do"],
)
_environment.filters |= {
    "age": words.age,
    "ago": words.ago,
    "due": words.due,
    "exact": words.exact,
    "json": words.json_text,
    "number": words.number,
    "pretty": words.pretty,
    "said_of": words.said_of,
    "segment": lambda text: quote(text, safe=""),
    "shortened": words.shortened,
    "time": _time,
}
_environment.globals["linked"] = _linked
