"""The catalogue as a page for people: what is known, and what may be tried again."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.causes.cause import Cause

_HEAD = """# Known causes of failure

A failure is told with its cause where one of these is recognised in what a program wrote, or in a node's log.
"again" marks those that may pass: a step that fails of one is tried again with growing pauses, a few times.
Parts in braces come from the program's own words.

This page is written from `tasks/causes`; a test compares the two.
"""


def markdown() -> str:
    """The whole page."""
    from tasks.causes import api, docker, helm, image, k3d, network, node, program

    parts = (
        ("Docker and the engine", docker.CAUSES),
        ("k3d", (*k3d.CAUSES, *k3d.TIMEOUTS)),
        ("Nodes", node.CAUSES),
        ("Registries and images", image.CAUSES),
        ("Network", network.CAUSES),
        ("The Kubernetes API", api.CAUSES),
        ("Helm", (*helm.CAUSES, *helm.TIMEOUTS)),
        ("Any program", program.CAUSES),
    )
    return _HEAD + "".join(_part(title, causes) for title, causes in parts)


def _part(title: str, causes: Iterable[Cause]) -> str:
    rows = [f"\n## {title}\n", "| id | what happened | again | what to do |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{cause.id}` | {_cell(cause.what)} | {'again' if cause.transient else ''} | {_cell(cause.fix)} |"
        for cause in causes
    ]
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
