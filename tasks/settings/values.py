"""How single values may be spelled."""

from __future__ import annotations

import re

_TRUE = frozenset({"true", "yes", "on", "1", "y", "t"})
_FALSE = frozenset({"false", "no", "off", "0", "n", "f"})
_MEMORY = re.compile(r"^(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?$", re.IGNORECASE)
_FACTOR = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")


def as_bool(value: object) -> object:
    """True and false in any of their usual spellings; anything else is left for the type to refuse."""
    text = str(value).strip().lower() if isinstance(value, str | int) else ""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if value is None:
        return None
    raise ValueError("must be true or false (also yes/no, on/off, 1/0)")


def memory_bytes(text: str) -> int:
    """Bytes of a size as Docker writes it: 2G is 2 GiB, 1.5G works too. Raises ValueError."""
    match = _MEMORY.match(text.strip())
    if match is None:
        raise ValueError("must be a size such as 512M or 1.5G (2G is 2 GiB)")
    return int(float(match[1]) * _FACTOR[match[2].lower()])


def as_memory(value: object) -> object:
    """A size, checked: k3d refuses less than 6 MiB as Docker does."""
    text = str(value)
    if memory_bytes(text) < 6 * 1024**2:
        raise ValueError("must be at least 6M: Docker refuses less")
    return text.strip()


def as_words(value: object) -> object:
    """A list, or one text with blanks (or commas) between the words."""
    if isinstance(value, str):
        return tuple(word for word in re.split(r"[\s,]+", value) if word)
    return value


def dns_label(value: str) -> str:
    """A name as Kubernetes and Docker's network names allow it (RFC 1123 label)."""
    if not _LABEL.match(value):
        raise ValueError("must consist of a-z, 0-9 and -, begin and end with a letter or digit, at most 63 long")
    return value
