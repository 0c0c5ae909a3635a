"""Acceptance: the shell examples of the README and of the page about curl do, as printed, what the text says."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest

from sluiceway.stack import Stack
from tests.support.markdown import run_page

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def reader(stack: Stack, tmp_path: Path) -> Path:
    """A folder in which ``sluiceway up`` seems to run, as the pages have it."""
    (tmp_path / ".sluiceway").symlink_to(stack.directory)
    return tmp_path


def test_the_readme(reader: Path) -> None:
    """The README's block gets its input back."""
    said = run_page(_ROOT / "README.md", folder=reader)
    assert f'"output":"{base64.b64encode(b"hello, grid").decode()}"' in said


def test_the_page_about_curl(reader: Path) -> None:
    """All blocks run: single and bulk inputs come back, a refusal is shown as one, and the session ends."""
    said = run_page(_ROOT / "docs" / "curl.md", folder=reader)
    assert "hello, grid" in said
    for text in ("one", "two", "three"):
        assert f"{text}\n" in said
    assert '"code":"invalid-attribute"' in said
    assert '"ended":true' in said
