"""The page on the API: all of the document, as text."""

from __future__ import annotations

from meshline.api.document import page_of

EVIL = '<script src="//evil.example"></script>'


def test_everything_of_the_document_is_on_the_page_and_nothing_of_it_is_markup() -> None:
    page = page_of(
        {
            "info": {"title": "Meshline", "version": "1", "description": EVIL},
            "paths": {
                "/v1/runs/{run}": {
                    "get": {
                        "tags": ["runs"],
                        "summary": EVIL,
                        "description": EVIL,
                        "parameters": [{"name": "run", "in": "path", "required": True}],
                        "requestBody": {"content": {"application/json": {"schema": {"a": EVIL}}}},
                        "responses": {"200": {"description": EVIL, "content": {}}},
                    }
                }
            },
            "components": {"schemas": {"Run": {"description": EVIL}}},
        }
    )

    assert "<script" not in page and page.count("&lt;script src=") == 6
    for said in ("<h2>runs</h2>", "GET /v1/runs/{run}", "in the path, needed", 'id="Run"'):
        assert said in page
