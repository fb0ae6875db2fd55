"""Quantities as Kubernetes writes them: 500m, 16Gi, 1e3."""

from __future__ import annotations

import re
from decimal import Decimal

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d{1,2})|(n|u|m|k|[MGTPE]|[KMGTPE]i))?", re.ASCII)
_POWERS = {"n": -3, "u": -2, "m": -1, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}


def quantity(value: object) -> Decimal | None:
    """The number that a quantity stands for, or None for what is none (Kubernetes API: resource.Quantity)."""
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
