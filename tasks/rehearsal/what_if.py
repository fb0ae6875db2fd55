"""What-ifs: the same launch with other cores, another line, without the caches; with other times, and with faults."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.core.errors import BadInput
from tasks.rehearsal.profile import Profile
from tasks.rehearsal.simulate import Machine

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)(bit|bps|bit/s|B|B/s)?")
_FACTORS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_MOST_CORES = 1024
DEFAULT = "default"


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """What is otherwise than recorded; what is not given stays as it was recorded."""

    cores: float | None = None
    line: float | None = None
    """Bytes a second, of all connections together."""
    cache: bool = True
    """False: no cache has anything, every image comes through the line."""
    scale: float = 1.0
    """Factor of all times; 0: nothing takes any."""
    timing: str = DEFAULT
    """Name of the time profile."""
    faults: Sequence[Mapping[str, Any]] = ()

    def machine(self, profile: Profile) -> Machine:
        """The machine that is asked about."""
        connection = profile.connection_mb * 1e6 if profile.connection_mb and self.line is None else None
        return Machine(cores=self.cores or profile.cores, line=self.line, connection=connection)

    @property
    def asked(self) -> bool:
        """Whether anything is asked that a plan from earlier runs does not answer."""
        return self.cores is not None or self.line is not None or not self.cache or self.timing != DEFAULT


def what_if(
    *,
    cores: str = "",
    line: str = "",
    no_cache: bool = False,
    time_scale: str = "",
    timing: str = "",
    faults: Sequence[str] = (),
) -> WhatIf:
    """From the texts of options. Raises `BadInput`."""
    from tasks.rehearsal.faults import parse

    return WhatIf(
        cores=_number("--cores", cores, 0.1, _MOST_CORES) if cores else None,
        line=rate(line) if line else None,
        cache=not no_cache,
        scale=_number("--time-scale", time_scale, 0.0, 1000.0) if time_scale else 1.0,
        timing=timing or DEFAULT,
        faults=tuple(parse(each) for each in faults),
    )


def rate(text: str) -> float:
    """Bytes a second of `20Mbit` (a line is sold in bits) or `2.5MB`. Raises `BadInput`."""
    found = _RATE.fullmatch(text.strip())
    amount = float(found[1]) * _FACTORS[found[2].lower()] if found else 0.0
    if found is None or not amount or not found[3]:
        raise BadInput(
            f"--line is '{text}'",
            why="a line's rate is a number above 0 with a unit: bits as they are sold, or bytes",
            fix="write it as 20Mbit (2.5 MB a second), 1Gbit, or 8MB",
        )
    return amount / 8 if found[3].startswith("b") else amount


def _number(option: str, text: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise BadInput(
            f"{option} is '{text}'", why=f"it is a number from {least:g} to {most:g}", fix="write it as 0.5, 1 or 8"
        )
    return value
