"""Progress of many tasks: a protocol to be told of it, and a bar for terminals where rich is installed."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from sluiceway.fine_typing import override

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Progress", "RichProgress"]


class Progress(Protocol):
    """What ``map`` tells while it works. Calls come from one thread at a time and must not block."""

    def submitted(self, count: int) -> None:
        """So many more tasks are stored at the grid's door."""
        ...

    def finished(self, count: int, failed: int) -> None:
        """So many more tasks have ended, and so many of them without an output."""
        ...


class RichProgress(Progress):
    """A bar with counts, rate and time left; a context manager.

    Needs rich (``pip install 'sluiceway[cli]'``). Where the output is no terminal nothing is drawn.

    Args:
        total: How many tasks there will be; None when that is not known.
        title: What stands before the bar.
        console: Where to draw; standard error without it.

    Raises:
        ImportError: rich is not installed.
    """

    def __init__(self, total: int | None = None, *, title: str = "tasks", console: Console | None = None) -> None:
        from rich import console as consoles  # noqa: PLC0415 - the client works without rich
        from rich import progress  # noqa: PLC0415 - as above

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=console or consoles.Console(stderr=True),
        )
        self._task = self._bar.add_task(title, total=total, rate="")
        self._failed = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    @override
    def submitted(self, count: int) -> None:
        """Nothing to draw: the bar counts what has ended."""

    @override
    def finished(self, count: int, failed: int) -> None:
        """Move the bar."""
        self._failed += failed
        speed = next((one.speed for one in self._bar.tasks if one.id == self._task), None)
        rate = f"{speed:,.0f}/s" if speed else ""
        self._bar.update(self._task, advance=count, rate=f"{rate} {self._failed} failed" if self._failed else rate)
