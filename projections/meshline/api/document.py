"""The page on the API: all of its document, without a script, and with nothing from elsewhere.

It stands at the address of the console, so a script from another server on it could do whatever
the person who looks at it may do there.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse

__all__ = ["add_document_page"]

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; }
main { padding: 0 1rem; }
summary { cursor: pointer; padding: .3rem 0; }
details > :not(summary) { margin-left: 1.2rem; }
code, pre { font: 13px/1.5 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .7rem; border: 1px solid; border-radius: .4rem; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
}


def add_document_page(api: FastAPI) -> None:
    """Serve the page at ``/docs``; it is open to all, as ``/openapi.json`` is."""

    @api.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    async def show_document() -> HTMLResponse:
        return HTMLResponse(page_of(api.openapi()), headers=_HEADERS)


def page_of(document: Mapping[str, Any]) -> str:
    """Return the document as a page."""
    about = document["info"]
    groups: dict[str, list[str]] = defaultdict(list)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups[operation.get("tags", [""])[0]].append(
                "".join(_operation(method.upper(), path, operation))
            )
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(found)}" for tag, found in groups.items())
    schemas = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"{_json(schema)}</details>"
        for name, schema in document.get("components", {}).get("schemas", {}).items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{escape(about["title"])} API</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(about['title'])} API "
        f"{escape(about['version'])}</h1><p>{escape(about['description'])}</p>"
        f'<p>For programs: <a href="/openapi.json">openapi.json</a></p>{body}'
        f"<h2>Schemas</h2>{schemas}</main></body></html>"
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"<details><summary><code>{method} {escape(path)}</code> "
        f"{escape(operation.get('summary', ''))}</summary>"
    )
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    for each in operation.get("parameters", ()):
        needed = ", needed" if each.get("required") else ""
        yield (
            f"<p><code>{escape(each['name'])}</code> in the {escape(each['in'])}{needed}. "
            f"{escape(each.get('description', ''))}</p>"
        )
    body = operation.get("requestBody", {}).get("content", {})
    for media, said in body.items():
        yield f"<p>It takes {escape(media)}:</p>{_json(said.get('schema', {}))}"
    for status, answer in operation.get("responses", {}).items():
        schemas = [said.get("schema", {}) for said in answer.get("content", {}).values()]
        yield f"<p><code>{escape(status)}</code> {escape(answer.get('description', ''))}</p>"
        if status.startswith("2"):
            yield "".join(map(_json, schemas))
    yield "</details>"


def _json(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"
