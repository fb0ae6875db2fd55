"""Values that must not be seen: whatever is shown, logged or recorded passes through `redact`."""

from __future__ import annotations

import base64
import threading

MASK = "***"
_SHORTEST = 4
"""Shorter values are not masked: they would hide half of every text, and hide nothing by it."""

_lock = threading.Lock()
_values: set[str] = set()


def conceal(value: str) -> None:
    """From now on this value, and its base64 form, is masked in everything that passes `redact`."""
    forms = {value, value.strip(), base64.b64encode(value.encode()).decode()}
    forms |= {line for line in value.splitlines() if len(line) > 16}
    with _lock:
        _values.update(form for form in forms if len(form) >= _SHORTEST)


def redact(text: str) -> str:
    """The text with every concealed value masked, the longest first."""
    with _lock:
        values = sorted(_values, key=len, reverse=True)
    for value in values:
        text = text.replace(value, MASK)
    return text
