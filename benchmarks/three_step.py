"""How fast runs go through: a trigger of 300 bytes, three steps that do nothing, one worker.

    python benchmarks/three_step.py --log memory|postgres|kafka|ADDRESS [--output json]

Measured, with publisher and worker in two processes and the log beside them on the same machine:
runs/s with as many triggers as can be published, latency with one run at a time, latency at half
of the measured rate, and memory of runs that wait. Beside it, in the same run, what the log itself
can do: the same bytes appended and read back by the bare client library. Absolute numbers are this
machine's, and noisy; the ratio to the bare log is what to compare.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from pydantic import BaseModel

from meshline.engine.worker import Worker
from meshline.events import Publisher
from meshline.events.ids import run_id_of
from meshline.events.log import Entry, EventLog, open_log
from meshline.events.publish import Trigger
from meshline.workflow import Registry, Workflow

ROOT = Path(__file__).resolve().parent.parent
SOURCE = "benchmark"
ENDED = b'"type":"meshline.run.succeeded.v1"'


class Order(BaseModel):
    number: int
    text: str


class Done(BaseModel):
    ok: bool


three = Workflow(
    "three-step", version=1, trigger=Order, source=SOURCE, owner="team:bench",
    exceptions="queue:bench", outcome=Done, due="2d",
)  # fmt: skip


@three.step
async def one(trigger: Order) -> int:
    return 1


@three.step
async def two(one: int) -> int:
    return 2


@three.step
async def last(two: int) -> Done:
    return Done(ok=True)


waiting = Workflow(
    "waiting", version=1, trigger=Order, source="waiting", owner="team:bench",
    exceptions="queue:bench", outcome=Done, due="30d",
)  # fmt: skip


@waiting.step
async def first(trigger: Order) -> int:
    return 1


answer = waiting.approval("answer", by="role:anybody", due="20d", after="first")


@waiting.step(after="answer")
async def finish(first: int) -> Done:
    return Done(ok=True)


def trigger(source: str, name: str, number: int) -> Trigger:
    return Trigger(source, {"number": number, "text": "x" * 270}, f"{name}-{number}")


# -- the worker's process ----------------------------------------------------------------------


async def work(address: str) -> None:
    """Run a worker, and tell on standard output how far it is, every 20 ms."""
    log = open_log(address)
    await log.open(create_partitions=None)
    worker = Worker(log, Registry(three, waiting), name="bench")
    running = asyncio.create_task(worker.run())
    await worker.ready()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    told: tuple[int, int] | None = None
    while not running.done():
        status = worker.status()
        now = (status.ended_runs, status.open_runs)
        if now != told:
            told = now
            usage = resource.getrusage(resource.RUSAGE_SELF)
            figures = {
                "ended": status.ended_runs,
                "open": status.open_runs,
                "facts": status.facts_appended,
                "cpu_s": usage.ru_utime + usage.ru_stime,
                "rss_kib": resident_kib(),
                "peak_rss_kib": usage.ru_maxrss,
                "at": time.monotonic(),
            }
            sys.stdout.write(json.dumps(figures) + "\n")
            sys.stdout.flush()
        await asyncio.sleep(0.02)
    await running


def resident_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


class WorkerProcess:
    """The worker, seen from here: the last that it told."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.told: dict[str, Any] = {}
        self._news = asyncio.Event()

    async def __aenter__(self) -> WorkerProcess:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--role", "worker", "--log", self._address,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read())
        await self.until(bool)
        return self

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.told = json.loads(line)
            self._news.set()
        raise RuntimeError("The worker ended before the benchmark did: see its messages above.")

    async def until(self, holds: Any, seconds: float = 300.0) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while not holds(self.told):
                self._news.clear()
                waiter = asyncio.create_task(self._news.wait())
                await asyncio.wait({waiter, self._reading}, return_when="FIRST_COMPLETED")
                waiter.cancel()
                if self._reading.done():
                    self._reading.result()
        return self.told

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        self._process.kill()
        await self._process.wait()


# -- what is measured --------------------------------------------------------------------------


async def publish_all(publisher: Publisher, source: str, name: str, count: int) -> None:
    async for _ in publisher.publish_many(trigger(source, name, n) for n in range(count)):
        pass


async def saturation(log: EventLog, worker: WorkerProcess, runs: int) -> dict[str, Any]:
    before = worker.told
    async with Publisher(log) as publisher:
        began = time.monotonic()
        await publish_all(publisher, SOURCE, f"s{uuid.uuid4().hex[:6]}", runs)
        published_s = time.monotonic() - began
        after = await worker.until(lambda told: told["ended"] >= before["ended"] + runs)
    elapsed_s = after["at"] - began
    facts = after["facts"] - before["facts"]
    return {
        "runs": runs,
        "runs_per_s": runs / elapsed_s,
        "events_per_s": (facts + runs) / elapsed_s,
        "events_per_run": (facts + runs) / runs,
        "publishing_took": published_s / elapsed_s,
        "worker_cpu_ms_per_run": 1000 * (after["cpu_s"] - before["cpu_s"]) / runs,
        "worker_cpu_share": (after["cpu_s"] - before["cpu_s"]) / elapsed_s,
        "worker_peak_rss_mib": after["peak_rss_kib"] / 1024,
    }


class Endings:
    """Follows the log and tells when each run's end was read."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.seen: dict[str, asyncio.Future[float]] = {}

    @asynccontextmanager
    async def following(self) -> AsyncIterator[Endings]:
        reader = self._log.reader(await self._log.ends())

        async def follow() -> None:
            while True:
                for records in (await reader.fetch(1_000, 1.0)).values():
                    for record in records:
                        if ENDED in record.value and (waiter := self.seen.get(record.key)):
                            waiter.done() or waiter.set_result(time.monotonic())

        task = asyncio.create_task(follow())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await reader.aclose()

    def of(self, each: Trigger) -> asyncio.Future[float]:
        waiter = asyncio.get_running_loop().create_future()
        self.seen[run_id_of(each.source, each.trigger_id)] = waiter
        return waiter


def percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50_ms": 1000 * statistics.median(ordered),
        "p99_ms": 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
    }


async def one_at_a_time(log: EventLog, runs: int) -> dict[str, float]:
    taken: list[float] = []
    name = f"l{uuid.uuid4().hex[:6]}"
    async with Publisher(log) as publisher, Endings(log).following() as endings:
        for number in range(runs + 10):
            each = trigger(SOURCE, name, number)
            ended = endings.of(each)
            began = time.monotonic()
            await publisher.publish(each.source, each.payload, trigger_id=each.trigger_id)
            taken.append(await asyncio.wait_for(ended, 30) - began)
    return percentiles(taken[10:])


async def at_rate(log: EventLog, rate: float, seconds: float) -> dict[str, float]:
    name = f"h{uuid.uuid4().hex[:6]}"
    taken: list[float] = []
    async with Publisher(log) as publisher, Endings(log).following() as endings:
        began = time.monotonic()
        tasks = []

        async def go(number: int) -> None:
            each = trigger(SOURCE, name, number)
            ended = endings.of(each)
            at = time.monotonic()
            await publisher.publish(each.source, each.payload, trigger_id=each.trigger_id)
            taken.append(await asyncio.wait_for(ended, 60) - at)

        for number in range(int(rate * seconds)):
            ahead_s = began + number / rate - time.monotonic()
            if ahead_s > 0.002:
                await asyncio.sleep(ahead_s)
            tasks.append(asyncio.create_task(go(number)))
        await asyncio.gather(*tasks)
    return {"rate_per_s": rate, **percentiles(taken[len(taken) // 10 :])}


async def memory(log: EventLog, worker: WorkerProcess, runs: int) -> dict[str, Any]:
    # What the worker told last may be older than the end of the runs before.
    before = await worker.until(lambda told: told["open"] == 0)
    async with Publisher(log) as publisher:
        await publish_all(publisher, "waiting", f"w{uuid.uuid4().hex[:6]}", runs)
    await worker.until(lambda told: told["open"] >= runs)
    await asyncio.sleep(1.0)
    after = worker.told
    bytes_each = 1024 * (after["rss_kib"] - before["rss_kib"]) / runs
    return {"waiting_runs": runs, "bytes_per_waiting_run": bytes_each}


# -- the bare log ------------------------------------------------------------------------------


async def recorded(log: EventLog, records_max: int) -> dict[int, list[Entry]]:
    """Return what the log holds, to be appended again without any engine."""
    reader = log.reader(dict.fromkeys(range(log.identity.partitions), 0))
    found: dict[int, list[Entry]] = {}
    count = 0
    while count < records_max:
        fetched = await reader.fetch(10_000, 0.5)
        if not fetched:
            break
        for partition, records in fetched.items():
            found.setdefault(partition, []).extend(Entry(r.key, r.value) for r in records)
            count += len(records)
    await reader.aclose()
    return found


async def bare_kafka(servers: str, entries: dict[int, list[Entry]], batch: int) -> float:
    """Return records/s: produced in batches and read back, with aiokafka and nothing else."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    topic = f"bare-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, len(entries), 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True, acks="all")
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    async with producer, consumer:
        consumer.assign([TopicPartition(topic, p) for p in range(len(entries))])
        await consumer.seek_to_beginning()
        total = sum(len(some) for some in entries.values())
        began = time.monotonic()

        async def produce(partition: int, some: list[Entry]) -> None:
            for start in range(0, len(some), batch):
                builder = producer.create_batch()
                for key, value in some[start : start + batch]:
                    if builder.append(key=key.encode(), value=value, timestamp=None) is None:
                        sent = await producer.send_batch(builder, topic, partition=partition)
                        await sent
                        builder = producer.create_batch()
                        builder.append(key=key.encode(), value=value, timestamp=None)
                await (await producer.send_batch(builder, topic, partition=partition))

        async def consume() -> None:
            count = 0
            while count < total:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    count += len(records)

        producing = [produce(number, some) for number, some in enumerate(entries.values())]
        await asyncio.gather(consume(), *producing)
        return total / (time.monotonic() - began)


async def bare_postgres(dsn: str, entries: dict[int, list[Entry]], batch: int) -> float:
    """Return records/s: inserted in batches and read back, with asyncpg and nothing else."""
    import asyncpg

    pool = await asyncpg.create_pool(dsn, min_size=2, max_size=4)
    await pool.execute("drop schema if exists bare cascade; create schema bare")
    await pool.execute(
        'create table bare.records (partition int, "offset" bigint, key text, value bytea,'
        ' primary key (partition, "offset"))'
    )
    total = sum(len(some) for some in entries.values())
    began = time.monotonic()

    async def insert() -> None:
        done = dict.fromkeys(entries, 0)
        while any(done[p] < len(some) for p, some in entries.items()):
            rows = []
            for partition, some in entries.items():
                start = done[partition]
                part = some[start : start + batch]
                rows += [(partition, start + n, k, v) for n, (k, v) in enumerate(part)]
                done[partition] += len(part)
            await pool.execute(
                "insert into bare.records select * from"
                " unnest($1::int[], $2::bigint[], $3::text[], $4::bytea[])",
                *map(list, zip(*rows, strict=True)),
            )

    async def read_back() -> None:
        at = dict.fromkeys(entries, 0)
        count = 0
        while count < total:
            for partition in at:
                rows = await pool.fetch(
                    'select "offset", key, value from bare.records'
                    ' where partition = $1 and "offset" >= $2 order by "offset" limit 2000',
                    partition,
                    at[partition],
                )
                at[partition] += len(rows)
                count += len(rows)

    await asyncio.gather(insert(), read_back())
    rate = total / (time.monotonic() - began)
    await pool.execute("drop schema bare cascade")
    await pool.close()
    return rate


# -- putting it together -----------------------------------------------------------------------


async def address_of(name: str, stack: AsyncExitStack) -> str:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="meshline-bench-")))
    if name == "postgres":
        from meshline.cli.embedded import EmbeddedPostgres

        folder.chmod(0o755)  # noqa: ASYNC240  # nothing else runs yet
        server = EmbeddedPostgres(folder / "postgres")
        stack.callback(server.close)
        return server.start()
    if name == "kafka":
        sys.path.insert(0, str(ROOT))
        from deploy.kafka.broker import KafkaBroker

        broker = KafkaBroker(folder / "kafka")
        await asyncio.to_thread(broker.start)
        stack.callback(broker.kill)
        return f"kafka://{broker.address}/bench"
    return name


async def run_bench(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.log == "memory":
        return await run_in_memory(arguments)
    async with AsyncExitStack() as stack:
        address = await address_of(arguments.log, stack)
        log = open_log(address)
        await log.open(create_partitions=arguments.partitions)
        stack.push_async_callback(log.aclose)
        figures: dict[str, Any] = {"log": arguments.log, "partitions": arguments.partitions}
        async with WorkerProcess(address) as worker:
            await saturation(log, worker, max(arguments.runs // 10, 100))
            rounds = [await saturation(log, worker, arguments.runs) for _ in range(3)]
            rounds.sort(key=lambda each: each["runs_per_s"])
            figures["saturation"] = rounds[1]
            figures["saturation_all_runs_per_s"] = [r["runs_per_s"] for r in rounds]
            figures["one_in_flight"] = await one_at_a_time(log, arguments.singles)
            half = rounds[1]["runs_per_s"] / 2
            figures["half_of_saturation"] = await at_rate(log, half, arguments.seconds)
            if arguments.waiting:
                figures["memory"] = await memory(log, worker, arguments.waiting)
        entries = await recorded(log, arguments.runs * 10)
        if address.startswith("kafka"):
            servers = address.removeprefix("kafka://").split("/")[0]
            bare = await bare_kafka(servers, entries, arguments.batch)
        else:
            bare = await bare_postgres(address, entries, arguments.batch)
        figures["bare_log_events_per_s"] = bare
        figures["of_bare_log"] = figures["saturation"]["events_per_s"] / bare
        return figures


async def run_in_memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """All in one process: what the engine costs when the log costs nothing."""
    log = open_log("memory://bench")
    await log.open(create_partitions=arguments.partitions)
    worker = Worker(log, Registry(three, waiting), name="bench")
    running = asyncio.create_task(worker.run())
    await worker.ready()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    rates, cpu = [], []
    for number in range(4):
        async with Publisher(log) as publisher:
            began, cpu_began = time.monotonic(), time.process_time()
            before = worker.status().ended_runs
            await publish_all(publisher, SOURCE, f"m{number}", arguments.runs)
            await until_ended(worker, before + arguments.runs)
            rates.append(arguments.runs / (time.monotonic() - began))
            cpu.append(1000 * (time.process_time() - cpu_began) / arguments.runs)
    single = await one_at_a_time(log, arguments.singles)
    worker.stop()
    await running
    return {
        "log": "memory",
        "saturation": {
            "runs_per_s": statistics.median(rates[1:]),
            "cpu_ms_per_run": statistics.median(cpu[1:]),
        },
        "one_in_flight": single,
    }


async def until_ended(worker: Worker, runs: int) -> None:
    while worker.status().ended_runs < runs:  # noqa: ASYNC110  # the worker has no such event
        await asyncio.sleep(0.005)


def show(figures: dict[str, Any], indent: str = "") -> None:
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            show(value, indent + "  ")
        else:
            shown = f"{value:,.3g}" if isinstance(value, float) and value < 100 else value
            shown = f"{value:,.0f}" if isinstance(value, float) and value >= 100 else shown
            print(f"{indent}{name}: {shown}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", default="memory")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--singles", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--waiting", type=int, default=0, help="runs that wait, for memory")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--batch", type=int, default=200, help="of the bare log, records")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--role", choices=("all", "worker"), default="all")
    arguments = parser.parse_args()
    uvloop.install()
    if arguments.role == "worker":
        asyncio.run(work(arguments.log))
        return
    figures = asyncio.run(run_bench(arguments))
    if arguments.output == "json":
        print(json.dumps(figures))
    else:
        show(figures)


if __name__ == "__main__":
    main()
