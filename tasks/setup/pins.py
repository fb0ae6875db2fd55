"""The pinned versions, as config/pins.yaml declares them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.errors import BadInput

PROGRAMS = ("k3d", "kubectl", "helm")

Version = Annotated[str, Field(pattern=r"^v\d+\.\d+\.\d+$")]
Minor = Annotated[str, Field(pattern=r"^\d+\.\d+$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pin(_Strict):
    """One program."""

    version: Version
    """What is fetched."""
    minimum: Version
    """The oldest that this project can use."""
    serves: tuple[Minor, Minor] | None = None
    """The oldest and the newest Kubernetes that it supports; None: its project names no bound."""


class Pins(_Strict):
    """All programs."""

    k3d: Pin
    kubectl: Pin
    helm: Pin

    def of(self, program: str) -> Pin:
        """The pin of one of `PROGRAMS`."""
        pin: Pin = getattr(self, program)
        return pin


def read(path: Path) -> Pins:
    """The file's pins. Raises `BadInput`."""
    from tasks.core import yaml

    try:
        return Pins.model_validate(yaml.load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadInput(
            f"the pinned versions cannot be read: {path}",
            why=error.strerror or str(error),
            fix="restore the file: it is part of the project",
        ) from None
    except yaml.YamlError as error:
        raise _wrong(path, str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise _wrong(path, f"{'.'.join(map(str, first['loc'])) or 'the whole file'}: {first['msg']}") from None


def _wrong(path: Path, why: str) -> BadInput:
    return BadInput(f"{path} is not as it must be", why=why, fix="correct it, or restore the file of the project")
