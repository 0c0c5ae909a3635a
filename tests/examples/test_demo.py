"""``sluiceway demo`` as people run it: a process that starts a whole stack, loses a part of it half way, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from examples.value_at_risk.job import build_job
from examples.value_at_risk.plain import plain_losses
from examples.value_at_risk.prices import PriceHistory
from examples.value_at_risk.processes import ProcessTree
from examples.value_at_risk.risk import risk_figures

pytestmark = [pytest.mark.processes, pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(240)]

PAGE = Path(__file__).parents[2] / "docs" / "value-at-risk.md"
SMALL = ("--days", "1501", "--steps", "40")


class RunningDemo:
    """The program and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def read_until(self, wanted: str) -> None:
        """Read what people read, until a line holds these words."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if wanted in line:
                return
        pytest.fail(f"the demo ended without saying {wanted!r}:\n{''.join(self.lines)}")

    def finish(self) -> int:
        """Read the rest and return the exit code."""
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)
        return self.process.wait()

    @property
    def said(self) -> str:
        """All that people have read."""
        return "".join(self.lines)

    @property
    def result(self) -> dict[str, Any]:
        """What programs read."""
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.read())
        return found


@contextmanager
def demo(directory: Path, *options: str) -> Iterator[RunningDemo]:
    """Start the program; in the end it has to have stopped by itself."""
    command = [sys.executable, "-m", "sluiceway", "demo", "--json", "--directory", str(directory / "stack"), "--plot", str(directory / "risk.png"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield RunningDemo(process)
        finally:
            process.terminate()


def test_a_small_job_survives_the_kill_and_equals_the_plain_computation(tmp_path: Path, history: PriceHistory) -> None:
    """Its figures are those computed here, nothing is lost or repeated, the picture is there, and nothing else is left."""
    with demo(tmp_path, *SMALL) as running:
        code = running.finish()
        result = running.result

    job = build_job(history, steps=40)
    figures = risk_figures(plain_losses(replace(job, closes=history.closes[-1501:])))
    assert code == 0, running.said
    assert result["figures"] == [
        {"level": str(one.level), "value_at_risk": str(one.value_at_risk), "expected_shortfall": str(one.expected_shortfall)} for one in figures
    ]
    assert (result["tasks"], result["scenarios"]) == (188, 1500)
    assert_nothing_lost(result)
    assert (tmp_path / "risk.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "stack").exists()


def test_the_whole_job_gives_the_figures_of_the_page(tmp_path: Path) -> None:
    """The default job, 1,039 tasks, gives the table that the documentation prints; the killed processes are named on the screen."""
    with demo(tmp_path) as running:
        code = running.finish()
        result = running.result

    printed = re.findall(r"^\| ([\d.]+) % \| ([\d,.]+) \| ([\d,.]+) \|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert code == 0, running.said
    assert [(f"{float(one['level']):.1%}", one["value_at_risk"], one["expected_shortfall"]) for one in result["figures"]] == [
        (f"{float(level) / 100:.1%}", risk.replace(",", ""), shortfall.replace(",", "")) for level, risk, shortfall in printed
    ]
    assert result["tasks"] == 1039
    assert_nothing_lost(result)
    assert result["outage"]["resumed_after"] is not None
    assert f"killed {result['killed']['gateway']}" in running.said
    assert result["killed"]["bridge"] in running.said


def assert_nothing_lost(result: dict[str, Any]) -> None:
    """Check what has to be so after every run."""
    assert result["agrees"]
    assert (result["lost"], result["repeated"], result["scenarios_lost"], result["scenarios_repeated"]) == (0, 0, 0, 0)
    assert result["largest_relative_difference"] <= 1e-9
    assert result["killed"]["worker_processes"] > 0
    assert (result["killed"]["survivors"], result["left_running"]) == (0, 0)


@pytest.mark.parametrize("moment", ["broker:", "sent:", "killed "])
def test_an_interrupted_demo_leaves_nothing_running(tmp_path: Path, moment: str) -> None:
    """Ctrl-C while the stack starts, while the job runs, and right after the kill ends every process, and the files go."""
    tree = ProcessTree()
    with demo(tmp_path, *SMALL) as running:
        running.read_until(moment)
        seen = tree.look(running.process.pid)
        running.process.send_signal(signal.SIGINT)
        code = running.finish()

    assert seen
    assert code == 130, running.said
    assert tree.left(within=5.0) == []
    assert not (tmp_path / "stack").exists()


def test_a_demo_that_cannot_go_on_says_why_and_leaves_nothing_running(tmp_path: Path) -> None:
    """With both bridge workers dead it ends with exit code 1, names them, and keeps their logs."""
    tree = ProcessTree()
    with demo(tmp_path) as running:
        running.read_until("sent:")
        tree.look(running.process.pid)
        for pid in re.findall(r"bridge-\d: ready \(process (\d+)\)", running.said):
            os.killpg(int(pid), signal.SIGKILL)
        code = running.finish()

    assert code == 1
    assert "bridge-1 and bridge-2 ended" in running.said
    assert "Traceback" not in running.said
    assert tree.left(within=5.0) == []
    assert (tmp_path / "stack" / "logs" / "bridge-1.log").exists()


def test_a_second_demo_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """It says which process runs there already, and does not remove that one's files."""
    with demo(tmp_path, *SMALL) as first:
        first.read_until("stack: ready")
        with demo(tmp_path, *SMALL) as second:
            code = second.finish()
        first.process.send_signal(signal.SIGTERM)
        first.finish()

    assert code == 1
    assert f"process {first.process.pid}" in second.said
