"""Runs the shell examples of a Markdown page as a reader would: its marked blocks, in order, in one shell."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

__all__ = ["run_page", "shell_blocks"]

_BLOCK = re.compile(r"^<!-- run -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shell_blocks(page: Path) -> list[str]:
    """Return the blocks fenced as ``sh`` that stand right behind a line ``<!-- run -->``."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def run_page(page: Path, *, folder: Path, within: float = 60.0) -> str:
    """Run a page's blocks with bash, which stops at the first command that fails; return all that they print.

    Args:
        page: The page.
        folder: Where the reader stands.
        within: Seconds for all blocks together.

    Raises:
        AssertionError: A command failed, or the page has no block to run.
    """
    blocks = shell_blocks(page)
    assert blocks, f"{page.name} has no block behind a line '<!-- run -->'"
    # What the tests' own environment says of proxies and the like would not be there for a reader.
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ} | {"HOME": str(folder), "no_proxy": "*"}
    script = "set -euo pipefail\n" + "\n".join(blocks)
    done = subprocess.run(["/bin/bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=within, check=False)
    assert done.returncode == 0, f"{page.name}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
