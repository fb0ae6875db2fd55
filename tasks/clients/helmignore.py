"""The files of a chart's folder that Helm does not read: its .helmignore (source: helm, `pkg/ignore/rules.go`)."""

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

NAME = ".helmignore"
_DEFAULT = "templates/.?*"
_GROUP = re.compile(r"\[\^")

Ignored = Callable[[str, bool], bool]
"""Whether a path, relative to the chart's folder, is excluded; for a folder (True): with everything in it."""


def helmignore(folder: Path) -> Ignored:
    """The exclusions of a chart's folder. Raises OSError.

    A rule in doubt excludes nothing here, since a file that Helm reads must count: `!` excludes all else in Helm, and
    never includes a file again.
    """
    path = folder / NAME
    text = path.read_bytes().decode("utf-8-sig", "replace") if path.is_file() else ""
    rules = list(_rules(f"{text}\n{_DEFAULT}"))
    return lambda name, is_folder: any(
        _matches(rule.rstrip("/"), name) for rule in rules if is_folder or not rule.endswith("/")
    )


def _rules(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        rule = line.strip()
        if rule and rule[0] not in "#!" and "**" not in rule and "\\" not in rule and "[!" not in rule:
            yield _GROUP.sub("[!", rule)


def _matches(rule: str, name: str) -> bool:
    """A rule without a slash is compared with the last part of the path; `*` and `?` match no slash."""
    if "/" not in rule:
        return fnmatchcase(name.rpartition("/")[2], rule)
    parts, wanted = name.split("/"), rule.removeprefix("/").split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
