"""Placeholders in values that were parsed before: what is filled in stays one text, and cannot become YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any


def fill(value: Any, values: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON value, and the same kind comes back
    """A copy with `${NAME}` replaced in every text, for the names given; `$${NAME}` becomes the text `${NAME}`.

    Keys, other names (with one `$` or two) and every other `$` stay as they are; what was filled in is not looked at
    again.
    """
    if not values:
        return value
    pattern = re.compile(r"\$(\$?)\{(" + "|".join(map(re.escape, values)) + r")\}")

    def filled(part: Any) -> Any:  # noqa: ANN401
        if isinstance(part, str):
            return pattern.sub(lambda found: found[0][1:] if found[1] else values[found[2]], part)
        if isinstance(part, dict):
            return {name: filled(inner) for name, inner in part.items()}
        if isinstance(part, list):
            return [filled(inner) for inner in part]
        return part

    return filled(value)


def repeat(value: Any, name: str, texts: Sequence[str]) -> Any:  # noqa: ANN401
    """A copy in which an item of a list that holds `${NAME}` comes once for each text, with it filled in.

    Of lists within each other the innermost repeats. Where no list is around it, `${NAME}` stays; so does `$${NAME}`.
    """
    if isinstance(value, dict):
        return {key: repeat(inner, name, texts) for key, inner in value.items()}
    if not isinstance(value, list):
        return value
    done: list[Any] = []
    for item in (repeat(inner, name, texts) for inner in value):
        copies = [fill(item, {name: text}) for text in texts]
        named = fill(item, {name: ""}) != fill(item, {name: "x"})  # but for `$${NAME}`, which is a text
        done += copies if named else [item]
    return done
