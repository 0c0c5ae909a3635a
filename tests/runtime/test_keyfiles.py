"""Key ring files: made once, rotated, and refused when they are not one."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.keyfiles import KeyFileError, create_ring, load_or_create_ring, load_ring, retire_key, rotate_ring
from schemas.sealing import SealError, open_sealed, seal


def test_a_ring_survives_the_disk(tmp_path: Path) -> None:
    """What was created is what is loaded, and its file says its version and current key in plain JSON."""
    path = tmp_path / "keys.json"

    ring = create_ring(path)

    assert load_ring(path) == ring
    stored = json.loads(path.read_text())
    assert (stored["version"], stored["current"], list(stored["keys"])) == (1, "k1", ["k1"])
    assert base64.b64decode(stored["keys"]["k1"]) == ring.keys["k1"]


def test_a_ring_is_never_overwritten(tmp_path: Path) -> None:
    """Creating where a ring is fails and leaves it, since a new one would void every id that clients hold."""
    path = tmp_path / "keys.json"
    ring = create_ring(path)

    with pytest.raises(FileExistsError):
        create_ring(path)

    assert load_ring(path) == ring


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    """Of many that load or create at once, one creates and all have the same ring."""
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: load_or_create_ring(tmp_path / "keys.json"), range(32)))

    assert [rings[0]] * 32 == rings


def test_rotation_keeps_old_texts_open(tmp_path: Path) -> None:
    """After a rotation new texts use the new key and old ones still open, until the old key is retired."""
    path = tmp_path / "keys.json"
    text = seal(create_ring(path), "session", b"s")

    rotated = rotate_ring(path)

    assert rotated.current == "k2"
    assert open_sealed(load_ring(path), "session", text) == b"s"
    with pytest.raises(KeyFileError, match="rotate first"):
        retire_key(path, "k2")
    retire_key(path, "k1")
    with pytest.raises(SealError):
        open_sealed(load_ring(path), "session", text)
    with pytest.raises(KeyFileError, match="no key named 'k1'"):
        retire_key(path, "k1")


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"current": "k9"},
        {"keys": {"k1": "c2hvcnQ="}},
        {"keys": {"k1": "not base64!"}},
        {"surplus": 1},
        {"version": None},
    ],
)
def test_what_is_no_ring_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    """Unknown versions, absent keys, short keys and surplus fields are refused with the file's name, without a word of the keys."""
    path = tmp_path / "keys.json"
    create_ring(path)
    stored = json.loads(path.read_text())
    secret = stored["keys"]["k1"]
    path.write_text(json.dumps(stored | change))

    with pytest.raises(KeyFileError, match=r"keys\.json") as caught:
        load_ring(path)

    assert secret not in str(caught.value)


def test_a_ring_open_to_everybody_is_refused(tmp_path: Path) -> None:
    """A key ring that every user of the machine could read is not used."""
    path = tmp_path / "keys.json"
    create_ring(path)
    path.chmod(0o644)

    with pytest.raises(KeyFileError, match="chmod 600"):
        load_ring(path)
