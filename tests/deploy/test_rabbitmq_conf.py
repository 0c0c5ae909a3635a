"""The broker's configuration is understood by RabbitMQ's own schema and means what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[2] / "deploy/rabbitmq/rabbitmq.conf"
ERLANG = shutil.which("erl")
PLUGINS = next(iter(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/plugins")), None)

pytestmark = pytest.mark.skipif(ERLANG is None or PLUGINS is None, reason="no RabbitMQ is installed on this machine, only reached by AMQP_URL")


def _translate(config: Path) -> str:
    """Return what the broker would be started with, as Erlang terms: the step that a node takes before anything else."""
    assert PLUGINS is not None
    schema = next(PLUGINS.glob("rabbit-*/priv/schema/rabbit.schema"))
    program = (
        f'Schema = cuttlefish_schema:files(["{schema}"]), Conf = cuttlefish_conf:file("{config}"),'
        ' io:format("~p~n", [cuttlefish_generator:map(Schema, Conf)]), halt(0).'
    )
    environment = {"ERL_LIBS": str(PLUGINS), "PATH": "/usr/bin:/bin", "HOME": str(config.parent)}
    result = subprocess.run([str(ERLANG), "-noinput", "-eval", program], env=environment, capture_output=True, text=True, check=False, timeout=30)
    return result.stdout


def test_every_line_is_understood_and_in_force() -> None:
    """RabbitMQ translates each line to the setting that is meant, the consumer timeout of seven days above all."""
    terms = dict(re.findall(r"\{(\w+),\s*(\"[^\"]*\"|[\d.]+)\}", _translate(CONFIG)))

    assert {
        "consumer_timeout": str(7 * 24 * 3600 * 1000),
        "vm_memory_high_watermark": "0.5",
        "disk_free_limit": '"4GB"',
        "heartbeat": "10",
        "channel_max": "16384",
        "max_message_size": str(32 * 1024 * 1024),
    }.items() <= terms.items()


def test_a_misspelt_line_would_be_noticed(tmp_path: Path) -> None:
    """The check above can fail: a line that RabbitMQ does not know ends in an error instead of settings."""
    broken = tmp_path / "rabbitmq.conf"
    broken.write_text(CONFIG.read_text().replace("consumer_timeout =", "consumer_timeuot ="))

    assert "{error" in _translate(broken)
