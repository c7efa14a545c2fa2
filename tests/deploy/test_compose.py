"""The compose file and the image: right in form, pinned, and in step with what the tests run."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest

from tests.deploy.yaml_subset import YamlRefused, read_yaml
from tests.tidy.source import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")


def compose() -> dict[str, Any]:
    found: dict[str, Any] = read_yaml(COMPOSE.read_text("utf-8"))
    return found


def has_docker_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "compose", "version"], check=False, capture_output=True)
    return asked.returncode == 0


def test_docker_finds_nothing_wrong_with_it() -> None:
    if not has_docker_compose():
        # Without its own reader, ours has to do; it refuses what it does not know.
        assert compose()["services"]
        return

    done = subprocess.run(
        ["docker", "compose", "--file", str(COMPOSE), "config", "--quiet"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr


def test_the_topology_is_kafka_postgres_two_workers_and_a_projector() -> None:
    services = compose()["services"]

    assert set(services) == {"kafka", "postgres", "log", "worker", "projector"}
    assert services["worker"]["deploy"]["replicas"] == "2"
    assert [services[name]["command"][0] for name in ("log", "worker", "projector")] == [
        "log", "worker", "projector",
    ]  # fmt: skip


def test_whatever_stays_up_has_a_health_check_and_starts_after_what_it_needs() -> None:
    services = compose()["services"]

    for name, service in services.items():
        if name != "log":
            assert service["healthcheck"]["test"][0] == "CMD", name
            assert service["restart"] == "unless-stopped", name
        for needed, condition in service.get("depends_on", {}).items():
            assert needed in services
            healthy = condition["condition"] == "service_healthy"
            assert healthy == ("healthcheck" in services[needed]), (name, needed)


def test_all_images_have_a_version_and_what_is_kept_has_a_volume() -> None:
    found = compose()
    images = [service["image"] for service in found["services"].values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert all(re.search(r":\d+\.\d+", image) for image in images), images
    for name, folder in (("kafka", "/var/lib/kafka/data"), ("postgres", "/var/lib/postgresql")):
        volume, path = found["services"][name]["volumes"][0].split(":")
        assert volume in found["volumes"]
        assert path == folder


def test_kafka_is_the_version_that_the_tests_run() -> None:
    pom = (DEPLOY / "kafka" / "pom.xml").read_text("utf-8")
    tested = re.search(r"<artifactId>kafka_2\.13</artifactId>\s*<version>([\d.]+)", pom)

    assert tested is not None
    assert compose()["services"]["kafka"]["image"] == f"apache/kafka:{tested[1]}"


def test_nothing_is_published_beyond_this_machine() -> None:
    services = compose()["services"].values()
    ports = [port for service in services for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_installs_what_is_locked_and_runs_as_nobody_special() -> None:
    version = re.search(r'^version = "(.+)"', (REPOSITORY / "pyproject.toml").read_text(), re.M)
    assert version is not None

    assert "--require-hashes --requirement requirements.txt" in DOCKERFILE
    assert len(re.findall(r"^FROM ", DOCKERFILE, re.MULTILINE)) == 2
    assert re.search(r"^USER meshline$", DOCKERFILE, re.MULTILINE)
    assert compose()["services"]["worker"]["image"] == f"meshline:{version[1]}"
    for copied in re.findall(r"^COPY ([^-].*) \S+$", DOCKERFILE, re.MULTILINE):
        for name in copied.split():
            assert (REPOSITORY / name).exists(), name
            kept = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
            assert f"!{name}" in kept, name


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2", "twice"),
        ("a:\n  b: 1\n   c: 2", "fits nothing"),
        ("a: *b", "no such anchor"),
        ("a: [1, 2", "not closed"),
        ("a: {b: 1}", "more YAML"),
        ("\ta: 1", "a tab"),
        ("a: 1\n- b", "expected a key"),
    ],
)
def test_a_broken_file_is_refused(text: str, problem: str) -> None:
    with pytest.raises(YamlRefused, match=problem):
        read_yaml(text)


def test_what_is_understood() -> None:
    text = 'x: &x\n  a: 1 # one\nb:\n  <<: *x\n  a: "2"\n  c:\n    - d: e\nf: [CMD, "g:h", i]\nj:'

    assert read_yaml(text) == {
        "x": {"a": "1"}, "b": {"a": "2", "c": ["d: e"]}, "f": ["CMD", "g:h", "i"], "j": None,
    }  # fmt: skip
