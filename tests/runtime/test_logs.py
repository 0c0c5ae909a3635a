"""Logs are one JSON object a line, carry ids, and never payloads or secrets."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import pytest
from typing_extensions import override

from runtime.logs import bound, configure, get_logger


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_how_grave_what_and_who() -> None:
    """Every line has its time, level, event, source and the fields of the process, in that order."""
    stream = io.StringIO()
    configure(stream=stream, role="gateway")

    get_logger("gateway.main").info("gateway ready", port=8443)

    (line,) = _lines(stream)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert (line["level"], line["event"], line["source"], line["role"], line["port"]) == ("info", "gateway ready", "gateway.main", "gateway", 8443)


def test_payloads_and_secrets_are_dropped_at_any_depth() -> None:
    """Keys that could carry a payload or a secret vanish, and bytes are only counted."""
    stream = io.StringIO()
    configure(stream=stream)

    get_logger("x").info("seen", payload=b"a", token="b", headers={"Authorization": "Bearer c", "Accept": "json"}, parts=[{"password": "d"}], body=b"12345")

    (line,) = _lines(stream)
    assert (line["headers"], line["parts"], line["body"]) == ({"Accept": "json"}, [{}], "<5 bytes>")
    assert not {"payload", "token"} & line.keys()


async def test_ids_follow_the_task_and_only_it() -> None:
    """Ids bound in one asyncio task are on its lines and its children's, and on nobody else's."""
    stream = io.StringIO()
    configure(stream=stream)
    log = get_logger("x")

    async def work(session: str) -> None:
        with bound(session=session, request_id="r"):
            await asyncio.sleep(0)
            log.info("inside")
        log.info("outside")

    await asyncio.gather(work("s1"), work("s2"))

    assert {(line["event"], line.get("session"), line.get("request_id")) for line in _lines(stream)} == {
        ("inside", "s1", "r"),
        ("inside", "s2", "r"),
        ("outside", None, None),
    }


def test_tracebacks_are_text_without_values() -> None:
    """An exception is logged with its traceback, without the values of local variables."""
    stream = io.StringIO()
    configure(stream=stream)

    def fail() -> None:
        hidden = "seven" + "teen"
        raise RuntimeError(f"broke {len(hidden)}")

    try:
        fail()
    except RuntimeError:
        get_logger("x").exception("failed")

    (line,) = _lines(stream)
    assert "RuntimeError: broke 9" in line["exception"]
    assert "seventeen" not in line["exception"]


def test_libraries_are_routed_in() -> None:
    """Warnings of uvicorn and aio_pika come out in the same dress; their chatter stays out."""
    stream = io.StringIO()
    configure(stream=stream)

    logging.getLogger("uvicorn.error").warning("no %s", "lifespan")
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("aio_pika.connection").info("connected")

    assert [(line["event"], line["source"], line["level"]) for line in _lines(stream)] == [("no lifespan", "uvicorn.error", "warning")]


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels_are_obeyed(level: str, count: int) -> None:
    """Nothing below the level is written."""
    stream = io.StringIO()
    configure(level, stream=stream)
    log = get_logger("x")

    for say in (log.debug, log.info, log.warning, log.error):
        say("x")

    assert len(_lines(stream)) == count


def test_people_get_plain_lines() -> None:
    """The console format is for reading, with the same redaction."""
    stream = io.StringIO()
    configure("info", "console", stream=stream)

    get_logger("x").info("hello", token="t0k3n", port=1)

    assert "hello" in stream.getvalue()
    assert "t0k3n" not in stream.getvalue()


def test_a_lost_reader_harms_nobody() -> None:
    """When the other end of the log pipe is gone, logging goes on silently and the work with it."""

    class Broken(io.StringIO):
        @override
        def write(self, _text: str, /) -> int:
            raise BrokenPipeError

    configure(stream=Broken())

    get_logger("x").info("into the void")
    logging.getLogger("uvicorn").error("into the void")
