"""Real Kafka brokers on this machine, without Docker: each broker and controller, on loopback.

``make kafka`` runs one or three in the foreground; the tests start, stop, kill, pause and restart
them. They need Java 17 and, once, Maven; the standard library is enough for the rest.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "COMES_BACK_SOON",
    "BrokerUnavailable",
    "KafkaBroker",
    "KafkaCluster",
    "copy_jars",
    "missing_tools",
]

FOLDER = Path(__file__).resolve().parent
JARS = FOLDER / "jars"
READY_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0

# A thread that lives as long as the process: "parent" in setpriv is the thread that starts it.
LAUNCHER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="launcher")

PROPERTIES = """\
process.roles=broker,controller
node.id={node_id}
controller.quorum.voters={voters}
listeners={listeners},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}/log
num.network.threads=2
num.io.threads=4
auto.create.topics.enable=false
num.partitions=1
default.replication.factor={replicas}
offsets.topic.num.partitions=4
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.initial.task.delay.ms=1000
log.segment.delete.delay.ms=1000
"""

COMES_BACK_SOON = """\
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
"""
"""For a broker that is to be killed: it is taken back when its old session has ended, 9 s by
default. A busy machine may take one with a short session for dead."""


REPLICAS_FALL_OUT_SOON = "replica.lag.time.max.ms=3000\n"
"""A replica that is silent for so long is not waited for any more; 30 s by default."""


class BrokerUnavailable(Exception):
    """There is no broker: a tool is missing, or it did not start. The message says what to do."""


def missing_tools() -> str | None:
    """Return what this machine lacks to run a broker; None if it has all."""
    if shutil.which("java") is None:
        return "no Java: install a JRE 17 or newer, or set MESHLINE_TEST_KAFKA=host:port"
    if not any(JARS.glob("kafka_2.13-*.jar")) and shutil.which("mvn") is None:
        return "no Maven to fetch the broker's jars: install it, or set MESHLINE_TEST_KAFKA"
    return None


def copy_jars() -> Path:
    """Return the folder with the broker's jars, fetched by Maven when they are not there yet.

    Safe for several processes at once: each fetches into its own folder, and the first wins.
    """
    if any(JARS.glob("kafka_2.13-*.jar")):
        return JARS
    fetched = FOLDER / "target" / f"jars-{os.getpid()}"
    command = ["mvn", "-q", "-B", "-f", str(FOLDER / "pom.xml"), "dependency:copy-dependencies"]
    done = subprocess.run(
        [*command, "-DincludeScope=runtime", f"-DoutputDirectory={fetched}"],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BrokerUnavailable(
            f"Maven could not fetch the broker's jars, expected 45 of them:\n{done.stdout}"
            f"{done.stderr}\nCorrect Maven's settings, or set MESHLINE_TEST_KAFKA=host:port."
        )
    with contextlib.suppress(OSError):
        fetched.rename(JARS)
    shutil.rmtree(fetched, ignore_errors=True)
    return JARS


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    """Say whether a broker at the port takes part in its cluster (by a Metadata request)."""
    # api_key 3, version 1, correlation 1, no client id, no topics
    request = struct.pack(">hhihi", 3, 1, 1, -1, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.settimeout(2.0)
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.recv(12, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(answer) == 12 and struct.unpack(">iii", answer)[2] > 0


def bound_to_this_process() -> list[str]:
    """Return the start of a command whose process ends when ours does, even by SIGKILL (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv and sys.platform == "linux" else []


def new_cluster_id() -> str:
    # The first byte is 0: a name that began with "-" would be taken for an option.
    return base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")


class Quorum(NamedTuple):
    """The nodes of a cluster: by id the port at which each is spoken to as a controller."""

    cluster_id: str
    controller_ports: dict[int, int]


class KafkaBroker:
    """One broker. Its data and its port stay the same over ``stop``, ``kill`` and ``start``.

    Args:
        data: where it keeps its data; formatted at the first start.
        port: 0 chooses a free one.
        quorum: the cluster that it is a node of; by default it is one by itself.
        proxy_port: where clients are sent that come to ``proxied_port``, which is opened then. A
            proxy that forwards the one to the other stands between all of them and the broker.
        heap_mb: the most that its objects may take.
        properties: further lines for server.properties.
    """

    def __init__(
        self,
        data: Path,
        *,
        port: int = 0,
        node_id: int = 1,
        quorum: Quorum | None = None,
        proxy_port: int | None = None,
        heap_mb: int = 512,
        properties: str = "",
    ) -> None:
        self.data = data
        self.port = port or free_port()
        self.node_id = node_id
        self.proxied_port = None if proxy_port is None else free_port()
        self._proxy_port = proxy_port
        self._quorum = quorum or Quorum(new_cluster_id(), {node_id: free_port()})
        self._heap_mb = heap_mb
        self._properties = properties
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "start() the broker first"
        return self._process.pid

    def _java(self, *arguments: str) -> list[str]:
        jars = copy_jars()
        return [
            "java",
            *(f"-Xmx{self._heap_mb}m", "-Xms128m", "-XX:+UseSerialGC", "-Xshare:auto"),
            f"-Dlog4j2.configurationFile={FOLDER / 'log4j2.properties'}",
            *("-cp", f"{jars}/*"),
            *arguments,
        ]

    def _format(self) -> Path:
        configuration = self.data / "server.properties"
        if configuration.exists():
            return configuration
        self.data.mkdir(parents=True, exist_ok=True)
        quorum = self._quorum
        listeners = f"PLAINTEXT://127.0.0.1:{self.port}"
        advertised = listeners
        if self.proxied_port is not None:
            listeners += f",PROXIED://127.0.0.1:{self.proxied_port}"
            advertised += f",PROXIED://127.0.0.1:{self._proxy_port}"
        text = PROPERTIES.format(
            node_id=self.node_id,
            voters=",".join(f"{n}@127.0.0.1:{p}" for n, p in quorum.controller_ports.items()),
            listeners=listeners,
            advertised=advertised,
            controller_port=quorum.controller_ports[self.node_id],
            replicas=min(3, len(quorum.controller_ports)),
            data=self.data,
        )
        draft = self.data / "server.properties.new"
        draft.write_text(text + self._properties, "utf-8")
        done = subprocess.run(
            self._java(
                "kafka.tools.StorageTool", "format", "-t", quorum.cluster_id, "-c", str(draft)
            ),
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise BrokerUnavailable(f"Kafka could not format {self.data}: {done.stderr}")
        return draft.rename(configuration)

    def start(self) -> None:
        """Start, or start again, and return when the broker answers."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start without waiting: a node of several is ready only when others are, too."""
        assert not self.running, "the broker runs already"
        configuration = self._format()
        with (self.data / "broker.log").open("ab") as output:
            self._process = LAUNCHER.submit(
                subprocess.Popen,
                [*bound_to_this_process(), *self._java("kafka.Kafka", str(configuration))],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            ).result()

    def wait_ready(self) -> None:
        assert self._process is not None, "launch() the broker first"
        deadline = time.monotonic() + READY_DEADLINE_S
        while not answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                tail = (self.data / "broker.log").read_text("utf-8", "replace")[-3000:]
                raise BrokerUnavailable(
                    f"The broker at {self.address} did not start within {READY_DEADLINE_S:.0f} s. "
                    f"The end of its log:\n{tail}"
                )
            time.sleep(0.05)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "start() the broker first"
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it in order (SIGTERM); kill it if it takes too long."""
        if self.running:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            assert self._process is not None
            try:
                self._process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash does."""
        if self.running:
            self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)


class KafkaCluster:
    """Several brokers, each also a controller: what is written three times survives one of them.

    Args:
        data: a folder for all; each node has its own in it.
        port: of the first node; the others follow on it. 0 chooses free ones.
        proxy_ports: as ``KafkaBroker.proxy_port``, one for each node.
    """

    def __init__(
        self,
        data: Path,
        *,
        nodes: int = 3,
        port: int = 0,
        proxy_ports: list[int] | None = None,
        properties: str = "",
    ) -> None:
        ids = range(1, nodes + 1)
        quorum = Quorum(
            new_cluster_id(), {n: port + 1000 + n if port else free_port() for n in ids}
        )
        data.mkdir(parents=True, exist_ok=True)
        remembered = data / "cluster.id"
        if not remembered.exists():
            remembered.write_text(quorum.cluster_id, "utf-8")
        quorum = quorum._replace(cluster_id=remembered.read_text("utf-8"))
        self.brokers = [
            KafkaBroker(
                data / f"node-{n}",
                port=port + n - 1 if port else 0,
                node_id=n,
                quorum=quorum,
                proxy_port=proxy_ports[n - 1] if proxy_ports else None,
                heap_mb=384 if nodes > 1 else 512,
                properties=properties,
            )
            for n in ids
        ]

    @property
    def address(self) -> str:
        return ",".join(broker.address for broker in self.brokers)

    def start(self) -> None:
        """Start those that do not run, and return when each of them answers."""
        launched = [broker for broker in self.brokers if not broker.running]
        for broker in launched:
            broker.launch()
        for broker in launched:
            broker.wait_ready()

    @property
    def running(self) -> bool:
        return all(broker.running for broker in self.brokers)

    def stop(self) -> None:
        # All at once: the last one of a quorum would wait in vain for the others.
        with ThreadPoolExecutor(len(self.brokers)) as stopping:
            list(stopping.map(KafkaBroker.stop, self.brokers))

    def kill(self) -> None:
        for broker in self.brokers:
            broker.kill()


def main() -> int:
    """Run brokers in the foreground until Ctrl-C: ``broker.py [PORT [NODES]]``."""
    if (missing := missing_tools()) is not None:
        print(f"No broker: {missing}", file=sys.stderr)
        return 1
    port, nodes = (int(text) for text in [*sys.argv[1:], *("9092", "1")[len(sys.argv) - 1 :]])
    # By port: the data knows its port, and two brokers on one machine each need their own.
    data = FOLDER / "data" / (str(port) if nodes == 1 else f"{port}-{nodes}")
    kafka: KafkaBroker | KafkaCluster
    kafka = (
        KafkaBroker(data, port=port) if nodes == 1 else KafkaCluster(data, nodes=nodes, port=port)
    )
    try:
        kafka.start()
        print(f"kafka://{kafka.address}/meshline")
        print(
            f"Kafka is ready; its data is in {data}. Ctrl-C ends it.", file=sys.stderr, flush=True
        )
        while kafka.running:
            time.sleep(0.5)
    except BrokerUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Ending Kafka …", file=sys.stderr)
        return 0
    finally:
        kafka.stop()
    return 1


if __name__ == "__main__":
    # Ended by a signal is ended in order as well: the broker must not stay behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
