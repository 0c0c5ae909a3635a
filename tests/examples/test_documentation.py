"""The page about the demo's job tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "value-at-risk.md"


def test_the_program_on_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The program prints one line for each of the three levels."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(program, str(PAGE), "exec"), {})  # noqa: S102 - the page's own program is what is under test

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["0.95", "0.99", "0.999"]
