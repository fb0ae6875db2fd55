"""Mappings and lists that stay as they are: the tree is shared by plans, threads and records.

They are still dict and list, so that JSON, equality and isinstance know them; a copy may be changed.
"""

from __future__ import annotations

from typing import Any, NoReturn


def _refuse(_self: object, *_given: object, **_named: object) -> NoReturn:
    raise TypeError("settings do not change; copy what you want to change")


class FrozenDict(dict[str, Any]):
    """A mapping that refuses to be changed."""

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, _memo: object) -> dict[str, Any]:
        return {key: thawed(value) for key, value in self.items()}

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (thawed(self),)


class FrozenList(list[Any]):
    """A list that refuses to be changed."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __deepcopy__(self, _memo: object) -> list[Any]:
        return [thawed(value) for value in self]

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (thawed(self),)


def frozen(value: Any) -> Any:  # noqa: ANN401 - any JSON value, and the same kind comes back
    """The same value, unchangeable all the way down."""
    if isinstance(value, dict):
        return FrozenDict({key: frozen(inner) for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return FrozenList(frozen(inner) for inner in value)
    return value


def thawed(value: Any) -> Any:  # noqa: ANN401 - as above
    """A copy that may be changed."""
    if isinstance(value, dict):
        return {key: thawed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [thawed(inner) for inner in value]
    return value
