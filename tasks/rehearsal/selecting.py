"""Selectors of lists, as the API understands them: by labels, and by some fields."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_SET = re.compile(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)")


def labels(selector: str, obj: Mapping[str, Any]) -> bool:
    """Whether an object's labels fit."""
    have = obj["metadata"].get("labels") or {}
    for found in _SET.finditer(selector):
        wanted = {part.strip() for part in found[3].split(",")}
        if (have.get(found[1].lstrip(",").strip()) in wanted) != (found[2] == "in"):
            return False
    return all(_fits(part.strip(), have) for part in _SET.sub("", selector).split(",") if part.strip())


def _fits(part: str, have: Mapping[str, str]) -> bool:
    if "!=" in part:
        key, _, value = part.partition("!=")
        return have.get(key.strip()) != value.strip()
    if "=" in part:
        key, _, value = part.replace("==", "=").partition("=")
        return have.get(key.strip()) == value.strip()
    return (part.lstrip("!") in have) != part.startswith("!")


def fields(selector: str, obj: Mapping[str, Any]) -> bool:
    """Whether an object's fields fit."""
    for part in filter(None, selector.split(",")):
        key, sign, value = re.split(r"(!=|==|=)", part, maxsplit=1)
        found: Any = obj
        for name in key.strip().split("."):
            found = found.get(name) if isinstance(found, dict) else None
        if (str(found if found is not None else "") == value.strip()) != (sign != "!="):
            return False
    return True
