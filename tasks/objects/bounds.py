"""How deep and how large YAML may be: libyaml builds by recursion in C, where too deep is no exception but the end.

What aliases repeat is counted too: nine lines of them can stand for a thousand million values.
"""

from __future__ import annotations

import yaml

from tasks.objects.loader import events

MOST_DEPTH, MOST_VALUES = 200, 2_000_000
"""Far above any manifest: the deepest schemas of well-known CRDs nest a third of this."""


class Excess(Exception):
    """A text that nobody wrote by hand."""

    def __init__(self, number: int, line: int, reason: str) -> None:
        super().__init__(reason)
        self.number, self.line, self.reason = number, line, reason


def refuse_excess(text: str) -> None:
    """Raises `Excess` by the parser's events, before anything is built of them."""
    opened: list[tuple[str | None, int]] = []
    sizes: dict[str, int] = {}
    count = number = 0
    for event in events(text):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            number += 1
            sizes.clear()
        elif isinstance(event, yaml.AliasEvent):
            count += sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        if len(opened) > MOST_DEPTH:
            raise Excess(number, line, f"it is nested more than {MOST_DEPTH} deep")
        if count > MOST_VALUES:
            raise Excess(number, line, f"it holds more than {MOST_VALUES} values, counting what aliases repeat")
