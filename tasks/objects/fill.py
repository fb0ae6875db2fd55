"""Placeholders in values that were parsed before: what is filled in stays one text, and cannot become YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def fill(value: Any, values: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON value, and the same kind comes back
    """A copy with `${NAME}` replaced in every text, for the names given.

    Keys, other names and every other `$` stay as they are; what was filled in is not looked at again.
    """
    if not values:
        return value
    pattern = re.compile(r"\$\{(" + "|".join(map(re.escape, values)) + r")\}")

    def filled(part: Any) -> Any:  # noqa: ANN401
        if isinstance(part, str):
            return pattern.sub(lambda found: values[found[1]], part)
        if isinstance(part, dict):
            return {name: filled(inner) for name, inner in part.items()}
        if isinstance(part, list):
            return [filled(inner) for inner in part]
        return part

    return filled(value)
