"""Certificates for development: what clients need to trust a gateway of their own machine."""

from __future__ import annotations

import ssl
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.certificates import DevelopmentAuthority, app


def _shake_hands(chain: Path, key: Path, ca: Path, name: str) -> str:
    """Let a server with this certificate and a strict client of this authority meet; returns the TLS version."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(chain, key)
    asking = ssl.create_default_context(cafile=str(ca))
    # What Python 3.13 does by default: RFC 5280 to the letter.
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    upwards, downwards = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(downwards, upwards, server_hostname=name)
    server = serving.wrap_bio(upwards, downwards, server_side=True)
    for side in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client.version() or ""


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "gateway.example"])
def test_a_strict_client_trusts_it(tmp_path: Path, name: str) -> None:
    """The certificate holds for this machine's names and the further ones, even for a client that follows RFC 5280 to the letter."""
    result = CliRunner().invoke(app, ["create", "--out", str(tmp_path / "tls"), "--name", "gateway.example"])
    assert result.exit_code == 0
    folder = tmp_path / "tls"
    assert _shake_hands(folder / "server.pem", folder / "server.key", folder / "ca.pem", name) == "TLSv1.3"


def test_other_names_and_authorities_are_refused(tmp_path: Path) -> None:
    """Neither a name that is not in it nor another authority passes."""
    authority, other = DevelopmentAuthority(tmp_path / "one"), DevelopmentAuthority(tmp_path / "two")
    chain, key = authority.issue(["localhost"], days=1)
    for ca, name in ((authority, "elsewhere.example"), (other, "localhost")):
        with pytest.raises(ssl.SSLCertVerificationError):
            _shake_hands(chain, key, ca.certificate_file, name)


def test_keys_are_private_and_the_authority_stays(tmp_path: Path) -> None:
    """Keys are readable by their owner only, and a second certificate comes from the same authority."""
    first = DevelopmentAuthority(tmp_path)
    _, key = first.issue(["localhost"], days=1)
    before = first.certificate_file.read_bytes()
    DevelopmentAuthority(tmp_path).issue(["localhost"], days=1)
    assert first.certificate_file.read_bytes() == before
    assert {stat.S_IMODE(one.stat().st_mode) for one in (key, tmp_path / "ca.key")} == {0o600}


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """Where the folder is a file, the command says so and ends with code 1."""
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(app, ["create", "--out", str(tmp_path / "file")])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
