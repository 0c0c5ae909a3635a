"""The set-up script refuses what it cannot do in one sentence, and does nothing twice."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534
SHELLCHECK = shutil.which("shellcheck")


def _bare_machine(folder: Path, programs: tuple[str, ...]) -> tuple[Path, dict[str, str]]:
    """Lay out a copy of what set-up reads, and a search path that holds only ``programs``."""
    project, path = folder / "project", folder / "bin"
    (project / "deploy").mkdir(parents=True)
    path.mkdir()
    shutil.copy(ROOT / "deploy/setup.sh", project / "deploy/setup.sh")
    for program in programs:
        found = shutil.which(program)
        assert found is not None
        (path / program).symlink_to(found)
    folder.chmod(0o755)
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
    project, environment = _bare_machine(tmp_path, ("dirname",))

    result = _setup(project, environment, "demo")

    assert (result.returncode, result.stderr) == (1, "setup: Python 3.11 to 3.14 is needed; on Debian 12: apt-get install python3\n")


@pytest.mark.skipif(Path("/usr/sbin/rabbitmq-server").exists() and os.geteuid() != 0, reason="only root can hide an installed rabbitmq-server for a while")
def test_users_without_rights_are_told_their_choices(tmp_path: Path) -> None:
    """Without root and without rabbitmq-server one sentence names the package, AMQP_URL and docker compose."""
    empty = tmp_path / "empty"
    empty.write_text("")
    hide = f"mount --bind {empty} /usr/sbin/rabbitmq-server && " if Path("/usr/sbin/rabbitmq-server").exists() else ""
    leave = f"setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups " if os.geteuid() == 0 else ""
    script = f"{hide}exec env -u AMQP_URL PATH=/usr/bin:/bin {leave}sh deploy/setup.sh demo"
    command = ["unshare", "--mount", "sh", "-c", script] if hide else ["sh", "-c", script]

    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert all(choice in result.stderr for choice in ("apt-get install rabbitmq-server", "AMQP_URL=amqp://", "docker compose up"))


@pytest.mark.skipif(SHELLCHECK is None, reason="no program named shellcheck is installed")
def test_scripts_are_clean() -> None:
    """ShellCheck finds nothing in the scripts."""
    scripts = [str(ROOT / name) for name in ("deploy/setup.sh", "deploy/docker/prepare.sh", ".ci/run")]

    result = subprocess.run([str(SHELLCHECK), *scripts], capture_output=True, text=True, check=False)

    assert (result.returncode, result.stdout) == (0, "")
