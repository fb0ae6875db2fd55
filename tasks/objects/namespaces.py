"""Namespaces by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.errors import BadInput
from tasks.objects.labels import finish
from tasks.settings.values import dns_label


def namespaces(names: Sequence[str]) -> list[dict[str, Any]]:
    """One object for each name, in their order, a name that comes twice once. Raises `BadInput` for an odd name."""
    return [
        finish({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _checked(name)}})
        for name in dict.fromkeys(names)
    ]


def _checked(name: str) -> str:
    try:
        return dns_label(name)
    except ValueError as error:
        raise BadInput(
            f"'{name}' cannot be the name of a namespace",
            why=f"it {error}",
            fix="correct it where it is set: namespaces (NAMESPACES), or the namespace of a release or a secret",
        ) from None
