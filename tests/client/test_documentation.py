"""The page about the Python client tells the truth: its programs run; a fake gateway echoes."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import trustme

from tests.client.fake_gateway import FakeGateway

_PAGE = Path(__file__).parents[2] / "docs" / "python-client.md"
_PROGRAMS = re.findall(r"```python\n(.*?)```", _PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("program", _PROGRAMS, ids=[f"program-{number}" for number in range(1, len(_PROGRAMS) + 1)])
async def test_the_programs_on_the_page_run(program: str, fakes: list[FakeGateway], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each program runs to its end in a folder with a token and a CA file, with the example's addresses replaced."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text("abc\n")
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    fakes[0].tokens = fakes[1].tokens = {"abc"}
    for number, fake in enumerate(fakes, 1):
        program = program.replace(f"https://gateway-{number}.example:8443", fake.url)
    assert "example:8443" not in program
    await asyncio.to_thread(exec, compile(program, str(_PAGE), "exec"), {"__name__": "__main__"})


def test_every_public_name_is_explained() -> None:
    """Whatever an error or entrance is called, the page has its name."""
    import sluiceway  # noqa: PLC0415 - what is under test

    page = _PAGE.read_text(encoding="utf-8")
    errors = [name for name in sluiceway.__all__ if isinstance(getattr(sluiceway, name), type) and issubclass(getattr(sluiceway, name), Exception)]
    missing = [name for name in errors if name not in page and name != "ProblemError"]
    assert missing == []
