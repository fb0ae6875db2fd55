"""Who looks on while a plan runs."""

from __future__ import annotations

from tasks.engine.step import Result, Step


class Watcher:
    """Told of everything that happens in a run; views and records derive from it."""

    def started(self, step: Step, at: float, slot: int | None, attempt: int) -> None:
        """A step's attempt began."""

    def ended(self, result: Result) -> None:
        """A step has its result."""

    def said(self, step: str, line: str) -> None:
        """A step told of its progress; called from the step's own thread."""

    def retrying(self, step: Step, attempt: int, pause: float, error: BaseException) -> None:
        """An attempt failed and will be made again after `pause` seconds."""

    def tick(self, at: float, waiting: int) -> None:
        """Called at least every `Run.refresh` seconds, from the scheduler's thread."""
