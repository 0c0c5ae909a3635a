"""What users install: one wheel, one name, nothing of the server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_ROOMS = {"schemas", "runtime", "broker", "gateway", "bridge", "examples"}
_LOOK = """
import importlib.util, json
import sluiceway
names = ["schemas", "runtime", "broker", "gateway", "bridge", "examples", "msgspec", "aio_pika", "typer", "rich", "cryptography"]
print(json.dumps({"found": [one for one in names if importlib.util.find_spec(one)], "file": sluiceway.__file__}))
"""


def _uv() -> str:
    """Return uv: from the PATH, or where the project's own set-up puts it."""
    found = shutil.which("uv") or shutil.which("uv", path=f"{_ROOT / '.tools' / 'bin'}:{Path(sys.executable).parent}:/opt/tools/bin")
    assert found, "uv is needed to build the wheel: run the project's set-up (make setup) first"
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source tree."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([_uv(), "build", "--quiet", "--wheel", "--package", "sluiceway", "--out-dir", str(folder)], cwd=_ROOT, check=True, timeout=120)
    (made,) = folder.glob("sluiceway-*.whl")
    return made


def test_the_wheel_has_one_top_level_name(wheel: Path) -> None:
    """Beside its metadata the wheel holds the package ``sluiceway`` and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/", 1)[0] for name in archive.namelist()}
    assert {one for one in tops if not one.endswith(".dist-info")} == {"sluiceway"}


def test_the_wheel_needs_two_libraries(wheel: Path) -> None:
    """Without the extra, installing it brings aiohttp and msgpack only."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        lines = archive.read(name).decode().splitlines()
    needs = [one.removeprefix("Requires-Dist: ") for one in lines if one.startswith("Requires-Dist: ") and "extra ==" not in one]
    assert sorted(one.split(">")[0].strip() for one in needs) == ["aiohttp", "msgpack"]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_an_empty_environment_gets_nothing_of_the_server(wheel: Path, tmp_path: Path) -> None:
    """Installed into an empty environment, the package imports, exactly one new name is its own, and no room of the server is there."""
    environment = tmp_path / "venv"
    subprocess.run([_uv(), "venv", "--quiet", "--python", sys.executable, str(environment)], check=True, timeout=120)
    python = str(environment / "bin" / "python")
    site = next(environment.glob("lib/python*/site-packages"))
    before = {one.name for one in site.iterdir()}
    install = [_uv(), "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, "--no-deps", str(wheel)], check=True, timeout=120)
    new = {one.name for one in site.iterdir()} - before
    assert {one for one in new if not one.endswith(".dist-info")} == {"sluiceway"}
    subprocess.run([*install, str(wheel)], check=True, timeout=120)
    found = json.loads(subprocess.run([python, "-I", "-c", _LOOK], check=True, capture_output=True, text=True, timeout=60).stdout)
    assert found["found"] == []
    assert found["file"].startswith(str(environment))
    program = subprocess.run([str(environment / "bin" / "sluiceway"), "--help"], check=False, capture_output=True, text=True, timeout=60)
    assert (program.returncode, "pip install 'sluiceway[cli]'" in program.stderr) == (1, True)


def test_the_package_imports_no_room() -> None:
    """Importing the package and its command line loads nothing of the server, even where it is installed."""
    code = "import sys, sluiceway, sluiceway.cli.program, sluiceway.stack; print(*sorted({one.split('.')[0] for one in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert not _ROOMS & set(done.stdout.split())
