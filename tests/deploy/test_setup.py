"""The set-up script refuses what it cannot do in one sentence, and does nothing twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELLCHECK = shutil.which("shellcheck")


def _bare_machine(folder: Path, *programs: str) -> tuple[Path, dict[str, str]]:
    """Lay out a copy of the set-up script for a machine that has only ``programs``, and no user who may install more."""
    project, path = folder / "project", folder / "bin"
    (project / "deploy").mkdir(parents=True)
    path.mkdir()
    script = (ROOT / "deploy/setup.sh").read_text()
    (project / "deploy/setup.sh").write_text(script.replace("/usr/sbin/$1", f"{path}/$1").replace("/usr/share/java", str(path)))
    for program in programs:
        found = Path(sys.executable).resolve() if program == "python3" else shutil.which(program)
        assert found is not None
        (path / program).symlink_to(found)
    (path / "id").write_text("#!/bin/sh\necho 1000\n")
    (path / "id").chmod(0o755)
    return project, {"PATH": str(path), "HOME": str(folder)}


def _setup(project: Path, environment: dict[str, str], profile: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "deploy/setup.sh", profile], cwd=project, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def test_unknown_profiles_are_refused() -> None:
    """A profile that does not exist ends with the list of those that do."""
    result = _setup(ROOT, dict(os.environ), "prod")

    assert (result.returncode, result.stderr) == (1, "setup: unknown profile 'prod': demo, test, check or bench\n")


def test_a_machine_without_python_is_told_so(tmp_path: Path) -> None:
    """Without a suitable Python the script says which versions would do."""
    project, environment = _bare_machine(tmp_path, "dirname")

    result = _setup(project, environment, "demo")

    assert (result.returncode, result.stderr) == (1, "setup: Python 3.11 to 3.14 is needed; on Debian 12: apt-get install python3\n")


def test_users_without_rights_are_told_their_choices(tmp_path: Path) -> None:
    """Without root and without rabbitmq-server one sentence names the package, AMQP_URL and docker compose."""
    project, environment = _bare_machine(tmp_path, "dirname", "tr", "python3")

    result = _setup(project, environment, "demo")

    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert all(choice in result.stderr for choice in ("apt-get install rabbitmq-server", "AMQP_URL=amqp://", "docker compose up"))


def test_a_broker_of_ones_own_is_enough(tmp_path: Path) -> None:
    """With AMQP_URL set, a machine without rabbitmq-server gets past the packages, to the installation of uv."""
    project, environment = _bare_machine(tmp_path, "dirname", "tr", "python3")

    result = _setup(project, environment | {"AMQP_URL": "amqp://u:p@h", "PIP_NO_INDEX": "1"}, "demo")

    assert "installing uv" in result.stdout
    assert "rabbitmq-server" not in result.stdout + result.stderr


@pytest.mark.skipif(SHELLCHECK is None, reason="no program named shellcheck is installed")
def test_scripts_are_clean() -> None:
    """ShellCheck finds nothing in the scripts."""
    scripts = [str(ROOT / name) for name in ("deploy/setup.sh", "deploy/docker/prepare.sh", ".ci/run")]

    result = subprocess.run([str(SHELLCHECK), *scripts], capture_output=True, text=True, check=False)

    assert (result.returncode, result.stdout) == (0, "")
