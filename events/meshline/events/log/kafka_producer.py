"""An idempotent producer, opened and closed within a time limit whatever the brokers do."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaProducer

from meshline.events.log.kafka_topic import client_options

__all__ = ["close_producer", "open_producer"]

CLOSE_S = 1.0
BATCH_OVERHEAD_BYTES = 4096


async def open_producer(servers: str, *, batch_bytes_max: int, deadline_s: float) -> Any:
    """Return a producer that is ready to send.

    Raises:
        KafkaError, OSError, TimeoutError: no broker gave it an identity within ``deadline_s``.
    """
    producer = AIOKafkaProducer(
        **client_options(servers),
        enable_idempotence=True,
        acks="all",
        max_batch_size=batch_bytes_max + BATCH_OVERHEAD_BYTES,
        request_timeout_ms=max(int(deadline_s * 1000), 1000),
        retry_backoff_ms=50,
    )
    try:
        async with asyncio.timeout(deadline_s):
            await producer.start()
    except BaseException:
        await close_producer(producer)
        raise
    return producer


async def close_producer(producer: Any) -> None:
    """Close a producer at once, whatever it has under way.

    Its own ``stop()`` waits until everything is delivered, which an idempotent producer tries for
    ever; and when ``stop()`` is cancelled its sender goes on. So the sender is ended first (a
    private name: there is no public one), together with the connections that it may wait for.
    """
    producer._closed = True
    sender = producer._sender
    ending = asyncio.create_task(sender.close())
    await asyncio.sleep(0)
    await producer.client.close()
    with suppress(Exception):
        # On a time-out this cancels the sender's requests too: they wait for metadata in vain.
        await asyncio.wait_for(ending, CLOSE_S)
    # The sender may have connected again meanwhile.
    await producer.client.close()
