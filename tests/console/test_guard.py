"""What is turned away before any page is looked at."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from meshline.api import ApiSettings
from meshline.console.guard import Guard


async def page(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


async def answered(method: str, address: str, **headers: str) -> httpx.Response:
    app = Guard(page, ApiSettings(hosts=frozenset({"localhost", "ops.example"})))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport) as http:
        return await http.request(method, address, headers=headers)


@pytest.mark.parametrize(
    ("method", "address", "headers", "status"),
    [
        ("GET", "http://localhost/", {}, 200),
        ("GET", "http://evil.example/", {}, 400),
        *(
            ("GET", "http://localhost/", {"Host": host}, 400)
            for host in (
                "evil.example@localhost",
                "localhost@evil.example",
                "localhost/x",
                "localhost?x",
                "localhost#x",
                "localhost:80:80",
                "localhost ",
                "",
                "[localhost]x",
                "lo\\calhost",
            )
        ),
        ("GET", "http://localhost/", {"Host": "LOCALHOST:8080"}, 200),
        ("POST", "http://localhost/", {}, 200),
        ("POST", "https://ops.example/", {"Origin": "https://ops.example"}, 200),
        ("POST", "https://ops.example/", {"Origin": "https://localhost"}, 403),
        ("POST", "https://ops.example/", {"Origin": "null"}, 403),
        ("POST", "http://ops.example/", {}, 403),
        ("POST", "http://localhost/", {"Content-Length": "262145"}, 413),
        ("POST", "http://localhost/", {"Content-Length": "many"}, 411),
    ],
)
async def test_a_form_comes_from_our_own_page_over_a_line_that_nobody_reads(
    method: str, address: str, headers: dict[str, str], status: int
) -> None:
    answer = await answered(method, address, **headers)

    assert answer.status_code == status
    assert answer.headers["x-frame-options"] == "DENY"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
