r"""k3d's node filters: `VALUE@FILTER;FILTER` selects the nodes for a value (k3d: `pkg/util/filter.go`).

k3d's command line reads the first `@` as the start of the filters, and needs `\@` for those of the value. Here the
filters follow the last `@`, if they are valid filters: an address with a login needs no backslash. `\@` still works.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

FORM = "server:0, server:*, agent:0-2, agent:*, loadbalancer or all, with ; between several"
_FILTER = re.compile(
    r"(?P<role>servers?|agents?|loadbalancer|all)"
    r"(?::(?P<subset>[0-9]{1,2}(?:,[0-9]{1,2})*,?|[0-9]{0,2}-[0-9]{0,2}|\*))?(?::(?P<suffix>[a-zA-Z]+))?"
)
"""No cluster has a hundred nodes of a role: `server:3128` is an address."""
_ROLES = ("server", "servers", "agent", "agents", "loadbalancer", "all")


class Filtered(NamedTuple):
    """A value, and its nodes; no filters: none given."""

    value: str
    filters: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As written, without backslashes."""
        return f"{self.value}@{';'.join(self.filters)}" if self.filters else self.value


def split(text: str) -> Filtered:
    r"""The value and its node filters; `\@` is an `@` of the value, `\\@` a backslash before the filters."""
    head, at, tail = text.rpartition("@")
    filters = tuple(tail.split(";"))
    if not at or _escaped(head) or not all(map(_is_filter, filters)):
        return Filtered(text.replace(r"\@", "@"))
    return Filtered(head.removesuffix("\\").replace(r"\@", "@"), filters)


def fault(text: str, suffixes: Sequence[str] = ()) -> str:
    """What is wrong with the node filters of a text, without repeating other parts of it; empty if they are valid.

    `suffixes`: those that its setting allows, such as `direct` for a port.
    """
    head, at, tail = text.rpartition("@")
    for each in split(text).filters:
        match = _FILTER.fullmatch(each)
        if match is not None and match["suffix"] and match["suffix"] not in suffixes:
            return f"ends in '@{tail}': {match['suffix']} is {'nothing for nodes' if suffixes else 'for ports alone'}"
    if at and not _escaped(head) and any(not _is_filter(each) and _meant(each) for each in tail.split(";")):
        return f"ends in '@{tail}', which names no nodes"
    return ""


def nodes(filters: Sequence[str], counts: Mapping[str, int]) -> set[tuple[str, int]]:
    """The nodes that match filters, each by role and number; `counts`: the number of nodes of each role.

    Raises ValueError for a node that does not exist.
    """
    found: set[tuple[str, int]] = set()
    for text in filters:
        match = _FILTER.fullmatch(text)
        if match is None:
            raise ValueError(f"'{text}' is no node filter")
        role = match["role"].rstrip("s")
        if role == "all":
            found |= {(each, number) for each, count in counts.items() for number in range(count)}
        elif role == "loadbalancer":
            if not counts.get(role):
                raise ValueError(f"'{text}': the cluster has no load balancer (cluster.loadbalancer)")
            found.add((role, 0))
        else:
            found |= {(role, number) for number in _numbers(match["subset"] or "*", counts.get(role, 0), text)}
    return found


def _numbers(subset: str, count: int, text: str) -> Sequence[int]:
    if subset == "*":
        return range(count)
    first, dash, last = subset.partition("-")
    listed = [int(number) for number in subset.split(",") if number.isdigit()]
    wanted = range(int(first or 0), int(last or count - 1) + 1) if dash else listed
    if not wanted or max(wanted) >= count:
        raise ValueError(f"'{text}' names a node that is not there, of {count} counted from 0")
    return wanted


def _escaped(head: str) -> bool:
    """Whether the `@` after this text belongs to the value."""
    return head.endswith("\\") and not head.endswith("\\\\")


def _is_filter(text: str) -> bool:
    match = _FILTER.fullmatch(text)
    return match is not None and (match["role"] in ("loadbalancer", "all") or match["subset"] is not None)


def _meant(text: str) -> bool:
    """Whether a node filter was intended: a role without its nodes, or with a typo in its name."""
    from difflib import get_close_matches

    role, _, rest = text.partition(":")
    if role.lower() in _ROLES:
        return bool(re.fullmatch(r"(?![0-9]{3,}$)[a-zA-Z0-9*,:-]*", rest))
    return bool(re.match(r"(\*|[0-9]|[0-9]?-[0-9]?)(:|$)", rest) and get_close_matches(role.lower(), _ROLES, 1, 0.7))
