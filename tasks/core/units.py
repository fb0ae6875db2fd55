"""Kubernetes quantities (500m, 16Gi, 1e3), memory in Docker's notation (1.5G); bytes and numbers for display."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from decimal import Decimal

KIB, MIB, GIB = 1024, 1024**2, 1024**3
MB = 1_000_000

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d{1,2})|(n|u|m|k|[MGTPE]|[KMGTPE]i))?", re.ASCII)
_MEMORY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_POWERS = {"n": -3, "u": -2, "m": -1, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}


def quantity(value: object) -> Decimal | None:
    """The number of a quantity, or None if it is not one (Kubernetes API: resource.Quantity)."""
    from decimal import Decimal  # only where it is used: the programs of a rehearsal start 5 ms sooner without it

    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    found = _QUANTITY.fullmatch(str(value))
    if found is None:
        return None
    number, exponent, suffix = found.groups()
    if exponent:
        return Decimal(number + exponent)
    if not suffix:
        return Decimal(number)
    if suffix.endswith("i"):
        return Decimal(number) * Decimal(1024) ** ("KMGTPE".index(suffix[0]) + 1)
    return Decimal(number) * Decimal(1000) ** _POWERS[suffix]


def memory_bytes(text: str) -> int:
    """Bytes of a size in Docker's notation: 2G is 2 GiB, 1.5G is valid, too. Raises ValueError."""
    match = _MEMORY.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a size such as 512M or 1.5G (2G is 2 GiB)")
    return int(float(match[1]) * 1024 ** (" kmgt".index(match[2].lower() or " ")))


def count(number: float, thing: str) -> str:
    """`1 step`, `2 steps`, `0.5 CPUs`."""
    shown = f"{number:g}" if isinstance(number, float) else number
    return f"{shown} {thing}" + ("" if number == 1 else "s")


def mib(size: float, whole: float | None = None) -> str:
    """Bytes as `1.5 MiB`, or `1.5 of 12.0 MiB`."""
    return f"{size / MIB:.1f}{_of(whole, MIB, 1)} MiB"


def gib(size: float) -> str:
    """Bytes as `1.5 GiB`."""
    return f"{size / GIB:.1f} GiB"


def megabytes(size: float, whole: float | None = None) -> str:
    """Bytes as `12 MB`, or `12 of 80 MB`, as registries and Docker count them."""
    return f"{size / MB:.0f}{_of(whole, MB, 0)} MB"


def _of(whole: float | None, unit: int, digits: int) -> str:
    return "" if whole is None else f" of {whole / unit:.{digits}f}"
