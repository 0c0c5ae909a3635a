"""Acceptance: the Java example is Java 1.6 and gets all its outputs although the gateway it uses is killed on the way."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from sluiceway.stack import Stack
from tests.support.stack import restored

_SOURCE = Path(__file__).resolve().parents[2] / "clients" / "java" / "SluicewayExample.java"
_ECJ = Path("/usr/share/java/ecj.jar")
_COMPILER = "org.eclipse.jdt.internal.compiler.batch.Main"
_JAVA_6_MAJOR = 50
_TASKS = 120
_RUN_SECONDS = 100

needs_java = pytest.mark.skipif(not shutil.which("java") or not _ECJ.exists(), reason="needs java and /usr/share/java/ecj.jar (Debian: libecj-java)")


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, compiled for Java 1.6."""
    folder = tmp_path_factory.mktemp("classes")
    command = ["java", "-cp", str(_ECJ), _COMPILER, "-1.6", "-d", str(folder), str(_SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@needs_java
def test_the_byte_code_is_that_of_java_6(classes: Path) -> None:
    """Every class file has major version 50 (JVM specification, 4.1)."""
    found = sorted(classes.glob("*.class"))
    assert [int.from_bytes(one.read_bytes()[6:8]) for one in found] == [_JAVA_6_MAJOR] * len(found)
    assert len(found) > 1


@needs_java
@pytest.mark.skipif(not shutil.which("javac"), reason="needs javac (Debian: default-jdk-headless)")
def test_it_uses_no_class_that_java_8_does_not_have(tmp_path: Path) -> None:
    """``javac --release 8`` knows the classes of Java 8 only; it takes the source without an error."""
    command = [shutil.which("javac") or "", "--release", "8", "-Xlint:-options", "-Werror", "-d", str(tmp_path), str(_SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def _running(stack: Stack, classes: Path, *urls: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run the example; it is ended when it takes too long, or when the test fails."""
    properties = {"token": stack.token_file, "ca": stack.ca_file, "grid": stack.grid, "application": "echo", "tasks": _TASKS}
    command = ["java", "-Xmx64m", "-cp", str(classes), *(f"-Dsluiceway.{name}={value}" for name, value in properties.items()), "SluicewayExample", *urls]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        end = threading.Timer(_RUN_SECONDS, process.kill)
        end.start()
        try:
            assert process.stdout is not None
            yield process, process.stdout
        finally:
            end.cancel()
            process.kill()


@needs_java
def test_the_example_survives_a_killed_gateway(stack: Stack, classes: Path) -> None:
    """Half the inputs are sent when the gateway in use is killed: the program goes on through the other, loses nothing, has nothing twice."""
    said = []
    with restored(stack, "gateway-1") as [gateway], _running(stack, classes, *stack.urls) as (process, output):
        for line in output:
            said.append(line.rstrip())
            if said[-1] == f"sent {_TASKS // 2} of {_TASKS}":
                gateway.kill()
        assert process.wait(10) == 0, said[-20:]
    assert f"going on through {stack.urls[1]}" in said
    assert f"fetched {_TASKS}" in said
    assert said[-1] == "lost 0, repeated 0"


@needs_java
@pytest.mark.parametrize(
    ("token", "application", "expected"),
    [(None, "no-such-application", '"code":"unknown-application"'), ("wrong", "echo", "status 401: the token is not accepted")],
)
def test_a_refusal_is_told(stack: Stack, classes: Path, tmp_path: Path, token: str | None, application: str, expected: str) -> None:
    """A refusal that repeating does not help ends the program with what the gateway said, read from the error stream."""
    file = tmp_path / "token"
    file.write_text(token or stack.token_file.read_text(encoding="utf-8"), encoding="utf-8")
    properties = [f"-Dsluiceway.token={file}", f"-Dsluiceway.ca={stack.ca_file}", f"-Dsluiceway.application={application}"]
    command = ["java", *properties, "-cp", str(classes), "SluicewayExample", stack.urls[1]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert expected in done.stderr
