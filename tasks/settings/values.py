"""How single values may be spelled: booleans, numbers, sizes and lists of words."""

from __future__ import annotations

import re

_TRUE = frozenset({"true", "yes", "on", "1", "y", "t"})
_FALSE = frozenset({"false", "no", "off", "0", "n", "f"})
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}(\.0{1,18})?")
_NUMBER = re.compile(r"[-+]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})")
_MEMORY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_FACTOR = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_LEAST, _MOST = 6 * 1024**2, 64 * 1024**4
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def as_bool(value: object) -> object:
    """True and false in any of their usual spellings. Raises ValueError for anything else."""
    text = str(value).strip().lower() if isinstance(value, str | bool) or value in (0, 1) else ""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("must be true or false (also yes/no, on/off, 1/0)")


def as_whole(value: object) -> object:
    """A whole number, also as a text of digits; true is none, though Python takes it for 1.

    Raises ValueError without a text: whoever tells of it knows the range.
    """
    text = str(value) if isinstance(value, bool | str) else None
    if text is None:
        return value
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError
    return int(text.strip().partition(".")[0])


def as_number(value: object) -> object:
    """A number in the usual notation, without exponent, `nan` or `inf`. Raises ValueError without a text."""
    text = str(value) if isinstance(value, bool | str) else None
    if text is None:
        return value
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError
    return float(text)


def memory_bytes(text: str) -> int:
    """Bytes of a size as Docker writes it: 2G is 2 GiB, 1.5G works too. Raises ValueError."""
    match = _MEMORY.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a size such as 512M or 1.5G (2G is 2 GiB)")
    return int(float(match[1]) * _FACTOR[match[2].lower()])


def as_memory(value: object) -> object:
    """A size, checked: Docker refuses less than 6 MiB, and so does k3d. Raises ValueError."""
    if isinstance(value, str):
        text = value.strip()
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63:
        text = f"{value:.15g}"
    else:
        raise ValueError("must be a size such as 512M or 1.5G (2G is 2 GiB)")
    if not _LEAST <= memory_bytes(text) <= _MOST:
        raise ValueError("must be at least 6M (Docker refuses less) and at most 64T")
    return text


def as_amount(value: object) -> object:
    """A text; in YAML an amount such as 2 is a number."""
    return (
        str(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63 else value
    )


def amount(value: str) -> str:
    """An amount as Kubernetes writes it. Raises ValueError."""
    from tasks.objects.quantity import quantity

    number = quantity(value)
    if number is None or not 0 <= number < 2**63:
        raise ValueError("must be an amount such as 500m, 2, 512Mi or 16Gi")
    return value


def as_choice(value: object) -> object:
    """One of several words: to YAML, `off` without quotes is false."""
    return "off" if value is False else value


def as_words(value: object) -> object:
    """A list, or one text with blanks (or commas) between the words."""
    if isinstance(value, str):
        return tuple(word for word in re.split(r"[\s,]+", value) if word)
    return value


def dns_label(value: str) -> str:
    """A name as Kubernetes and Docker's network names allow it (RFC 1123 label). Raises ValueError."""
    if not _LABEL.fullmatch(value):
        raise ValueError("must consist of a-z, 0-9 and -, begin and end with a letter or digit, at most 63 long")
    return value
