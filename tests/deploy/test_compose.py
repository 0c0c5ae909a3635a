"""The compose file and the image's recipe are consistent with each other and with the project."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# The wheel's own entry point swallows the exit code of the program that it carries.
COMPOSE = Path(sysconfig.get_path("purelib")) / "compose" / "docker-compose"


def _config(*, password: str | None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "SLUICEWAY_BROKER_PASSWORD"}
    if password is not None:
        environment["SLUICEWAY_BROKER_PASSWORD"] = password
    command = [str(COMPOSE), "-f", str(ROOT / "compose.yaml"), "config", "--format", "json"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Return the services as Compose itself reads them."""
    result = _config(password="x")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)["services"]
    return found


def test_the_stack_is_whole(services: dict[str, Any]) -> None:
    """A broker of RabbitMQ 4.x, two gateways, two bridges and the one-shot preparation, as Compose's own parser sees them."""
    assert sorted(services) == ["bridge1", "bridge2", "gateway1", "gateway2", "prepare", "rabbitmq"]
    assert services["rabbitmq"]["image"].startswith("rabbitmq:4.")


def test_everything_that_stays_has_a_health_check(services: dict[str, Any]) -> None:
    """Every service but the one-shot preparation says when it is healthy, and waits for the preparation to have ended well."""
    staying = {name: service for name, service in services.items() if name != "prepare"}

    assert all("test" in service["healthcheck"] for service in staying.values())
    waits = {name: service.get("depends_on", {}).get("prepare", {}).get("condition") for name, service in staying.items() if name != "rabbitmq"}
    assert set(waits.values()) == {"service_completed_successfully"}


def test_only_gateways_are_reachable_and_only_from_here(services: dict[str, Any]) -> None:
    """The broker and the bridges publish no port; the gateways publish theirs on the loopback address."""
    ports = {name: [(port["host_ip"], port["published"]) for port in service.get("ports", [])] for name, service in services.items()}

    assert {name: found for name, found in ports.items() if found} == {"gateway1": [("127.0.0.1", "8443")], "gateway2": [("127.0.0.1", "8444")]}
    assert [name for name, service in services.items() if "outside" in service["networks"]] == ["gateway1", "gateway2"]


def test_processes_have_no_rights_to_spare(services: dict[str, Any]) -> None:
    """Our containers drop all capabilities, may gain none, and cannot write to their image."""
    ours = [service for name, service in services.items() if name != "rabbitmq"]

    assert all(service["cap_drop"] == ["ALL"] and service["read_only"] for service in ours)
    assert all(service["security_opt"] == ["no-new-privileges:true"] for service in ours)


def test_a_password_of_ones_own_is_demanded() -> None:
    """Without a broker password Compose refuses with what to set; there is no default one."""
    result = _config(password=None)

    assert result.returncode != 0
    assert "SLUICEWAY_BROKER_PASSWORD" in result.stderr


def test_files_that_are_mounted_or_built_from_exist(services: dict[str, Any]) -> None:
    """Every bind mount and every file that the image copies is in the repository."""
    sources = [volume["source"] for service in services.values() for volume in service["volumes"] if volume["type"] == "bind"]
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE) for word in line.split()[:-1]]
    commands = [word for service in services.values() for word in (service.get("command") or []) if word.startswith("/etc/sluiceway/")]

    assert all(Path(source).exists() for source in sources)
    assert all((ROOT / name).exists() for name in copied)
    assert all((ROOT / "deploy/docker" / Path(name).name).is_file() for name in commands)


def test_one_version_of_uv_everywhere() -> None:
    """Set-up, image and build back end agree on uv, so that the lock means the same in all of them."""
    setup = re.search(r"^UV_VERSION=(\S+)$", (ROOT / "deploy/setup.sh").read_text(), re.MULTILINE)
    image = re.search(r"uv==(\S+)", (ROOT / "deploy/docker/Dockerfile").read_text())
    requires = [tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["build-system"]["requires"] for folder in (".", "clients/python")]

    assert setup is not None
    assert image is not None
    assert setup[1] == image[1]
    assert requires[0] == requires[1]
    assert f">={setup[1]}," in requires[0][0]
