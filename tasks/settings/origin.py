"""Where a value came from, in the words of tables and of errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

DEFAULT, FILE, PROFILE, ENVIRONMENT, OPTION = "default", "file", "profile", "environment", "option"
"""The layers, each over the one before."""

Path = tuple[str, ...]
"""Names from the root of the tree to a place in it; a part of a list has its number or its name."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What has set a value."""

    layer: str
    name: str
    """The file, the variable or the option."""
    line: int | None = None

    @property
    def short(self) -> str:
        """For tables: `config/ci.yaml:7`, `K3D_AGENTS`, `--set`."""
        return f"{self.name}:{self.line}" if self.line else self.name

    @property
    def place(self) -> str:
        """For errors: `config/ci.yaml, line 7`, `the variable K3D_AGENTS`, `--set`."""
        if self.layer == ENVIRONMENT:
            return f"the variable {self.name}"
        return f"{self.name}, line {self.line}" if self.line else self.name


BUILT_IN = Origin(layer=DEFAULT, name="default")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Values of one source, as they were written."""

    data: Any
    origin: Origin
    lines: Mapping[Path, int] = field(default_factory=dict)
    inside: Path = ()
    """In a file: below which names the data stand."""

    def at(self, path: Path) -> Origin:
        """The origin of a place, with the line of its name, or of what it stands in."""
        whole = (*self.inside, *path)
        for length in range(len(whole), -1, -1):
            if (line := self.lines.get(whole[:length])) is not None:
                return replace(self.origin, line=line)
        return self.origin


def dotted(path: Path) -> str:
    r"""A path as `--set` takes it: a dot inside a name is written `\.`."""
    return ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in path)


def parts(text: str) -> Path:
    r"""What `dotted` wrote. `\.` is a dot inside a name."""
    found, escaped = [""], False
    for sign in text:
        if escaped or sign not in ".\\":
            found[-1] += sign
            escaped = False
        elif sign == "\\":
            escaped = True
        else:
            found.append("")
    return tuple(found)
