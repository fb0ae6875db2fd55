"""The few Go templates that are used with `--format`: fields, `json`, and text between them."""

from __future__ import annotations

import json
import re

from tasks.rehearsal.call import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_ACTION = re.compile(r"\{\{(.*?)\}\}")


def text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """JSON as Go writes it: without blanks, and with <, > and & escaped."""
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return plain.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def render(template: str, value: Mapping[str, Any], kind: str, code: int = 1) -> str:
    """One row. Raises `Exit` for what is no field of it."""

    def fill(match: re.Match[str]) -> str:
        words = match[1].split()
        if not words or len(words) > 2 or (len(words) == 2 and words[0] != "json") or not words[-1].startswith("."):
            raise Exit(
                code, f'template parsing error: template: :1: function "{words[0] if words else ""}" not defined'
            )
        found: Any = value
        for name in filter(None, words[-1].split(".")):
            if not isinstance(found, dict) or name not in found:
                raise Exit(
                    code,
                    f'failed to execute template: template: :1:{match.start() + 2}: executing "" at <{words[-1]}>: '
                    f"can't evaluate field {name} in type {kind}",
                )
            found = found[name]
        if len(words) == 2:
            return text(found)
        return str(found).lower() if isinstance(found, bool) else str(found)

    return _ACTION.sub(fill, template.replace("\\t", "\t").replace("\\n", "\n"))
