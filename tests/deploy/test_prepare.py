"""The preparation of the compose stack makes what its configurations name, and may run again."""

from __future__ import annotations

import os
import ssl
import subprocess
import sysconfig
from pathlib import Path

import pytest

from gateway.security.tokens import load_tokens
from runtime.keyfiles import load_ring
from runtime.secretfiles import read_secret
from runtime.settings import BrokerSettings

SCRIPT = Path(__file__).parents[2] / "deploy/docker/prepare.sh"


def _prepare(state: Path, broker: BrokerSettings) -> str:
    assert broker.password_file is not None
    environment = {
        "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
        "SLUICEWAY_STATE": str(state),
        "SLUICEWAY_BROKER_URL": broker.urls[0],
        "SLUICEWAY_BROKER_PASSWORD": read_secret(broker.password_file),
    }
    result = subprocess.run(["/bin/sh", str(SCRIPT)], env=environment, capture_output=True, text=True, check=False, timeout=50)
    assert result.returncode == 0, result.stderr
    return result.stdout


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.broker
@pytest.mark.processes
def test_everything_is_made_once(tmp_path: Path, broker_settings: BrokerSettings) -> None:
    """The first run makes certificate, key ring, token and lanes, usable and private to their owner; the second changes none of them."""
    _prepare(tmp_path, broker_settings)
    made = _contents(tmp_path)
    second = _prepare(tmp_path, broker_settings)

    assert "RNDBCARDI_PROD: 64 lanes, 0 of them new" in second
    assert _contents(tmp_path) == made
    assert sorted(made) == ["broker-password", "certificate.key", "certificate.pem", "keys.json", "token", "tokens.json"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "certificate.pem", tmp_path / "certificate.key")
    assert load_ring(tmp_path / "keys.json").current == "k1"
    assert [entry.name for entry in load_tokens(tmp_path / "tokens.json").tokens] == ["compose"]
    assert made["token"].startswith(b"sluice_")
