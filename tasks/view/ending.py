"""What a view is told when a run is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from tasks.engine.step import Result, State, Step


class Cause(Protocol):
    """A known cause of a failure; errors of `tasks.errors` are one too."""

    @property
    def what(self) -> str:
        """What happened."""

    @property
    def why(self) -> str:
        """Why; may be empty."""

    @property
    def fix(self) -> str:
        """What to do; may be empty."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A run that is over, and what its task knows of it."""

    task: str
    steps: Sequence[Step]
    results: Sequence[Result]
    wall_s: float
    interrupted: bool = False
    causes: Mapping[str, Cause] = field(default_factory=lambda: MappingProxyType({}))
    """By step: what is known beyond the step's own error, such as why a node died."""
    inspect: str = ""
    """The command that looks at what a failed run has left."""
    logs: Path | None = None
    """The folder with a log for each step."""
    note: str = ""
    """Stands on every screen, such as that nothing real was made."""

    @property
    def failed(self) -> list[Result]:
        """The steps that failed, in the order in which they did."""
        return sorted((r for r in self.results if r.state is State.FAILED), key=lambda r: r.end_s or 0.0)

    @property
    def notes(self) -> tuple[str, ...]:
        """What steps that ended well leave the user to know, in the plan's order, each once."""
        return tuple(dict.fromkeys(note for result in self.results for note in result.notes))

    @property
    def good(self) -> bool:
        """Whether every step ran or was skipped."""
        return not self.interrupted and all(r.state in (State.RAN, State.SKIPPED) for r in self.results)
