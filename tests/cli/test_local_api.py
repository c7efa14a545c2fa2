"""The HTTP API of ``meshline dev``: for this machine, with a key that the folder remembers."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from meshline.cli.local_api import api_of
from meshline.workflow.registry import Registry
from tests.api.installation import installed
from tests.api.leads import leads

pytestmark = pytest.mark.postgres


async def test_its_key_is_made_once_and_it_speaks_to_this_machine_alone(
    postgres_address: str, tmp_path: Path
) -> None:
    async with installed(postgres_address, Registry(leads)) as meshline:
        async with api_of(meshline.log, postgres_address, tmp_path, 0) as first:
            key = first.key_file.read_text().strip()
        async with (
            api_of(meshline.log, postgres_address, tmp_path, 0) as api,
            httpx.AsyncClient(base_url=api.address) as client,
        ):
            same = api.key_file.read_text().strip()
            headers = {"Authorization": f"Bearer {same}"}
            page = await client.get("/login")
            good = await client.get("/v1/workflows", headers=headers)
            without = await client.get("/v1/workflows")
            renamed = await client.get("/v1/workflows", headers=headers | {"Host": "evil.example"})
            other = await client.get(
                "/v1/workflows", headers=headers | {"Origin": "http://localhost:3000"}
            )
        await meshline.keys.revoke(key.split("_")[1], by="user:test")
        async with api_of(meshline.log, postgres_address, tmp_path, 0) as again:
            new = again.key_file.read_text().strip()

    assert api.address.startswith("http://127.0.0.1:")
    assert same == key != new
    assert (page.status_code, "Sign in" in page.text) == (200, True)
    assert first.password is not None and api.password is None
    assert api.key_file.stat().st_mode & 0o777 == 0o600
    assert (good.status_code, without.status_code) == (200, 401)
    assert (renamed.status_code, other.status_code) == (400, 403)
