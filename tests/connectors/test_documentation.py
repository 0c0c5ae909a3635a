"""The page on adding a connector shows code that works."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from bridge.connectors.base import Connector, GridTask, SessionOpening
from schemas.symphony import SessionCreationAttributes

_PAGE = Path(__file__).parents[2] / "docs" / "connectors.md"


def _connector() -> Connector:
    """Run the page's code block and make what it defines."""
    block = re.search(r"```python\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    names: dict[str, type[Connector]] = {}
    exec(compile(block[1], str(_PAGE), "exec"), names)  # noqa: S102 - the project's own page
    return names["LibraryConnector"](threads=2)  # type: ignore[call-arg]


async def test_the_connector_of_the_page_runs_tasks() -> None:
    """Three tasks through the page's connector give three outcomes."""
    opening = SessionOpening(sid=b"s" * 16, grid="G", application="pricing", principal="p", attributes=SessionCreationAttributes())
    async with _connector() as connector, asyncio.timeout(10):
        session = await connector.open_session(opening)
        await session.submit([GridTask(b"%024d" % index, b"task %d" % index) for index in range(3)])
        found: dict[bytes, bytes | None] = {}
        async for outcomes in session.outcomes():
            found |= {outcome.task_id: outcome.payload for outcome in outcomes}
            if len(found) == 3:
                break
        await session.close(destroy=True)

    assert found == {b"%024d" % index: b"TASK %d" % index for index in range(3)}
