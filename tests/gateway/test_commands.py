"""The commands ``sluiceway token``."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from gateway.commands import token
from gateway.security.tokens import load_tokens

RUNNER = CliRunner()


def _run(*words: str) -> tuple[int, str, str]:
    result = RUNNER.invoke(token, words)
    return result.exit_code, result.stdout, result.stderr


def test_a_token_is_shown_once_and_stored_as_a_hash(tmp_path: Path) -> None:
    """The secret goes to standard output alone, so that it can be redirected into a file."""
    file = tmp_path / "tokens.json"
    code, out, err = _run("create", "pricing", "--file", str(file), "--grid", "G1", "--grid", "G2", "--days", "30")
    assert code == 0
    assert out.strip().startswith("sluice_")
    assert "once" in err
    assert out.strip() not in file.read_text()
    (entry,) = load_tokens(file).tokens
    assert (entry.name, entry.grids) == ("pricing", ("G1", "G2"))
    assert entry.expires is not None
    assert entry.expires - entry.created == 30 * 86_400


def test_tokens_are_listed_without_secrets(tmp_path: Path) -> None:
    """For people and for programs."""
    file = tmp_path / "tokens.json"
    secret = json.loads(_run("create", "a", "--file", str(file), "--json")[1])["token"]
    _run("create", "b", "--file", str(file), "--days", "1")
    assert [row["name"] for row in json.loads(_run("list", "--file", str(file), "--json")[1])] == ["a", "b"]
    code, out, _ = _run("list", "--file", str(file))
    assert code == 0
    assert out.count("\n") == 2
    assert secret not in out


def test_a_token_is_revoked(tmp_path: Path) -> None:
    """Afterwards its entry is gone, and revoking again is an error."""
    file = tmp_path / "tokens.json"
    _run("create", "a", "--file", str(file))
    assert _run("revoke", "a", "--file", str(file))[0] == 0
    assert load_tokens(file).tokens == ()
    code, _, err = _run("revoke", "a", "--file", str(file))
    assert (code, "no token named" in err) == (1, True)


def test_mistakes_are_told_in_one_line(tmp_path: Path) -> None:
    """A missing file, a name twice, an impossible name."""
    file = tmp_path / "tokens.json"
    assert _run("list", "--file", str(file))[0] == 1
    _run("create", "a", "--file", str(file))
    for name in ("a", "with|bar", ""):
        code, out, err = _run("create", name, "--file", str(file))
        assert (code, out) == (1, "")
        assert err.count("\n") == 1
