"""Secrets in files are kept from other users, and written whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from runtime.secretfiles import SecretFileError, read_secret, read_secret_bytes, write_secret


def _file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o440])
def test_owners_and_groups_may_read(tmp_path: Path, mode: int) -> None:
    """A secret for its owner, or for a group as container platforms hand it out, is read without its line end."""
    assert read_secret(_file(tmp_path, b"open sesame\n", mode)) == "open sesame"


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644, 0o666, 0o777])
def test_everybody_may_not(tmp_path: Path, mode: int) -> None:
    """Any right for all users of the machine is refused."""
    with pytest.raises(SecretFileError, match=f"mode {mode:04o}"):
        read_secret(_file(tmp_path, b"x", mode))


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b" \n", "empty"), (b"a\nb", "more than one line"), (b"\xff", "UTF-8"), (b"x" * (1 << 20) + b"x", "larger")]
)
def test_useless_contents_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """A secret that cannot be meant so is refused with the reason, and the message does not quote it."""
    with pytest.raises(SecretFileError, match=reason) as caught:
        read_secret(_file(tmp_path, content))

    assert len(str(caught.value)) < 300


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error says which file is missing."""
    with pytest.raises(SecretFileError, match=f"{tmp_path}/secret: No such file"):
        read_secret_bytes(tmp_path / "secret")


def test_written_secrets_are_private(tmp_path: Path) -> None:
    """A new secret has mode 0600 under any umask, and nothing else is left in its folder."""
    former = os.umask(0)
    try:
        write_secret(tmp_path / "secret", b"x")
    finally:
        os.umask(former)

    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_secrets_are_not_overwritten_by_accident(tmp_path: Path) -> None:
    """An existing secret stays unless its replacement is asked for."""
    path = _file(tmp_path, b"old")

    with pytest.raises(FileExistsError):
        write_secret(path, b"new")
    assert path.read_bytes() == b"old"
    write_secret(path, b"new", replace=True)

    assert path.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
