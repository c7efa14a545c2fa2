"""The HTTP API under load: mixed requests at a rate, publishing at full speed, and too much.

    python benchmarks/api_load.py --rate 300 --seconds 20

`meshline serve` is one process, a worker and a projector another (`meshline dev`), with an embedded
PostgreSQL in a folder that is removed at the end; the load comes from this one. Three parts:

1. mixed: `--rate` requests a second, open loop (each starts at its time, whatever the others do):
   60 % look, 30 % publish, 10 % act; latencies are from the time at which a request was due.
2. publishing: as many triggers as go in, one by one and in batches.
3. too much: more at once than the server takes on; what was not accepted must say 429 or 503, and
   each trigger that was answered as accepted must be in the log.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

APP = """
from pydantic import BaseModel
from meshline.workflow import Workflow

class Sent(BaseModel):
    number: int

class Done(BaseModel):
    number: int

load = Workflow("load", version=1, trigger=Sent, source="load", owner="team:load",
                exceptions="queue:load", outcome=Done, due="1d")

@load.step
async def count(trigger: Sent) -> Done:
    return Done(number=trigger.number)
"""


class Server:
    """`meshline dev` (worker and projector) and `meshline serve`, in a folder of their own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="meshline-load-"))
        self.folder.chmod(0o755)
        (self.folder / "app.py").write_text(APP)
        self.processes: list[subprocess.Popen[bytes]] = []

    async def ready(self) -> tuple[str, str]:
        """Return the server's address and a key."""
        await self._started("dev", "app.py", "--no-reload")
        said = await self._started("serve", "--port", "0", "--health-port", "0")
        found = re.search(r"Ready: (http://[^/ ]+)", said)
        assert found is not None, said
        return found[1], (self.folder / ".meshline/key").read_text().strip()

    async def _started(self, *words: str) -> str:
        path = self.folder / words[0]
        with path.open("wb") as said:
            process = subprocess.Popen(  # noqa: ASYNC220 - there is nothing else to do meanwhile
                [Path(sys.executable).parent / "meshline", *words],
                cwd=self.folder,
                stderr=said,
                env={k: v for k, v in os.environ.items() if not k.startswith("MESHLINE_")},
            )
        self.processes.append(process)
        for _ in range(600):
            if "Ready" in path.read_text():
                return path.read_text()
            if process.poll() is not None:
                break
            await asyncio.sleep(0.2)
        raise SystemExit(f"`meshline {words[0]}` did not start: {path.read_text()}")

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGINT)
            process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)


class Answer:
    def __init__(self, status_code: int, body: bytes) -> None:
        self.status_code = status_code
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Connections that are kept, and as little work as can be: the load shares the processors.

    A client library takes 1.2 to 1.5 ms of a processor for each request, more than the server.
    """

    def __init__(self, address: str, key: str) -> None:
        self._host, self._port = str(urlsplit(address).hostname), int(urlsplit(address).port or 80)
        self._head = f"Host: localhost:{self._port}\r\nAuthorization: Bearer {key}\r\n"
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def request(self, method: str, path: str, params: Any = None, json: Any = None) -> Answer:
        reader, writer = line = await self._line()
        target = f"{path}?{urlencode(params)}" if params else path
        body = b"" if json is None else dumped(json)
        head = f"{method} {target} HTTP/1.1\r\n{self._head}"
        if json is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}\r\n".encode() + body)
        try:
            said = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", said)[1])  # type: ignore[index]
            answer = Answer(int(said[9:12]), await reader.readexactly(length))
        except BaseException:
            writer.close()
            raise
        if b"connection: close" in said:
            writer.close()
        else:
            self._free.append(line)
        return answer

    async def _line(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._free:
            reader, writer = self._free.pop()
            # The server ends what nobody uses for some seconds.
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port)

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


class Load:
    """Sends, and notes how long it took and what was answered."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.latencies_s: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.accepted: set[str] = set()
        self.number = 0

    async def sent(self, due_s: float, method: str, path: str, **more: Any) -> Answer | None:
        try:
            answer = await self.client.request(method, path, **more)
        except (OSError, EOFError):
            self.statuses[0] += 1
            return None
        self.latencies_s.append(time.perf_counter() - due_s)
        self.statuses[answer.status_code] += 1
        return answer

    async def publish(self, due_s: float) -> None:
        self.number += 1
        name = f"T-{self.number}"
        answer = await self.sent(
            due_s, "POST", "/v1/triggers", params={"source": "load", "id": name, "wait_s": 0},
            json={"number": self.number},
        )  # fmt: skip
        if answer is not None and answer.status_code == 202:
            self.accepted.add(name)

    async def look(self, due_s: float) -> None:
        path = random.choice(["/v1/runs", "/v1/exceptions", "/v1/approvals", "/v1/owners"])
        await self.sent(due_s, "GET", path)

    async def act(self, due_s: float) -> None:
        # Of a run that has ended: the refusal is appended and decided like anything else.
        answer = await self.sent(
            due_s, "GET", "/v1/runs", params={"state": "succeeded", "limit": 1}
        )
        if answer is not None and answer.status_code == 200 and answer.json()["items"]:
            run = answer.json()["items"][0]["run_id"]
            await self.sent(
                time.perf_counter(), "POST", f"/v1/runs/{run}/cancel", params={"wait_s": 0},
                json={"reason": "load"},
            )  # fmt: skip

    def told(self, seconds: float) -> dict[str, Any]:
        ordered = sorted(self.latencies_s) or [0.0]
        at = {f"p{p}_ms": round(ordered[int(len(ordered) * p / 100)] * 1000, 1) for p in (50, 99)}
        return {
            "requests": sum(self.statuses.values()),
            "per_s": round(sum(self.statuses.values()) / seconds, 1),
            **at,
            "max_ms": round(ordered[-1] * 1000, 1),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
        }


async def mixed(client: Client, rate: float, seconds: float) -> dict[str, Any]:
    load = Load(client)
    works: list[Callable[[float], Awaitable[None]]] = [load.look] * 6 + [load.publish] * 3
    works.append(load.act)
    start_s = time.perf_counter()
    tasks = []
    for number in range(int(rate * seconds)):
        due_s = start_s + number / rate
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        tasks.append(asyncio.ensure_future(works[number % 10](due_s)))
    await asyncio.gather(*tasks)
    return load.told(time.perf_counter() - start_s)


async def publishing(client: Client, count: int, batch: int) -> dict[str, Any]:
    start_s, taken, number = time.perf_counter(), 0, 0
    load = Load(client)
    load.number = 1_000_000 + count * (batch > 1)

    async def one_by_one() -> None:
        nonlocal number
        while number < count:
            number += 1
            await load.publish(time.perf_counter())

    async def in_batches() -> None:
        nonlocal number, taken
        while number < count:
            number += batch
            load.number += batch
            body = [{"id": f"T-{load.number - n}", "payload": {"number": n}} for n in range(batch)]
            answer = await load.sent(
                time.perf_counter(), "POST", "/v1/trigger-batches", params={"source": "load"},
                json={"triggers": body},
            )  # fmt: skip
            if answer is not None and answer.status_code == 202:
                taken += len(answer.json()["items"])

    await asyncio.gather(*((in_batches if batch > 1 else one_by_one)() for _ in range(16)))
    seconds = time.perf_counter() - start_s
    return {
        "triggers_per_s": round((taken or len(load.accepted)) / seconds),
        **load.told(seconds),
    }


async def too_much(client: Client, at_once: int) -> dict[str, Any]:
    load = Load(client)
    load.number = 5_000_000
    start_s = time.perf_counter()
    await asyncio.gather(*(load.publish(start_s) for _ in range(at_once)))
    told = load.told(time.perf_counter() - start_s)
    await asyncio.sleep(1)
    missing = 0
    for name in random.sample(sorted(load.accepted), min(200, len(load.accepted))):
        for _ in range(100):
            found = await client.request("GET", "/v1/triggers", {"source": "load", "id": name})
            if found.status_code == 200 and found.json()["items"]:
                break
            await asyncio.sleep(0.1)
        else:
            missing += 1
    return {**told, "accepted": len(load.accepted), "looked_for": min(200, len(load.accepted)),
            "missing": missing}  # fmt: skip


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--at-once", type=int, default=1_500)
    given = parser.parse_args()
    server = Server()
    try:
        address, key = await server.ready()
        client = Client(address, key)
        results = {
            "mixed": await mixed(client, given.rate, given.seconds),
            "one_by_one": await publishing(client, given.count, 1),
            "batches_of_100": await publishing(client, given.count, 100),
            "too_much": await too_much(client, given.at_once),
        }
        client.close()
        print(json.dumps(results, indent=2))
    finally:
        server.stop()


if __name__ == "__main__":
    asyncio.run(main())
