"""Times of a rehearsal, and its faults: times.json and faults.json in its folder.

Times are seconds by key; `times.json` beside this module has the defaults, each with a description. A key is one or two
words, usually with a subject: `pull rancher/k3s:v1.35.5-k3s1`. If a key with the subject is missing, the one without
it counts (`pull`), then the default. Case is ignored. `scale` multiplies all of them; 0: nothing takes
any time.

Faults are a list of `{name, target, after, times, seconds}`:

`target`  a part of the subject: an image, a container, a port, NAMESPACE/NAME, a command line; empty: the first
                    one
`after`   seconds (scaled like all others) until it strikes; without it each strikes as described below
`times`   how often it strikes; without it always
`seconds` how long one strike of `api-flaps` lasts (1.5)
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tasks.core.errors import BadInput
from tasks.rehearsal.folder import Document, Folder

Fault = Mapping[str, Any]


@cache
def _usual() -> Mapping[str, tuple[float, str]]:
    found: Mapping[str, tuple[float, str]] = json.loads(Path(__file__).with_name("times.json").read_bytes())
    return found


class Times:
    """The values of a times.json, over the defaults."""

    __slots__ = ("_given", "scale")

    def __init__(self, document: Mapping[str, float]) -> None:
        self._given = {str(key).lower(): float(value) for key, value in document.items()}
        self.scale = self._given.get("scale", 1.0)

    @classmethod
    def of(cls, folder: Folder) -> Times:
        """The times of a rehearsal."""
        return cls(folder.read("times.json"))

    def seconds(self, key: str, *names: str) -> float:
        """Scaled seconds of a key, for the first of these names that is known."""
        known = (self._given.get(each.lower()) for each in (*(f"{key} {name}" for name in names), key))
        return next((each for each in known if each is not None), _usual()[key][0]) * self.scale


NAMES: Mapping[str, str] = {
    "pull-stalls": "a pull of the image stalls forever, after its first layers",
    "pull-rate-limited": "the registry of the image rejects more pulls for now",
    "registry-dies": "the registry's container exits repeatedly after its start",
    "port-taken": "the engine cannot publish the host port: it is in use",
    "node-crashes": "the node's k3s exits repeatedly after its start",
    "api-flaps": "the cluster's API repeatedly does not answer for a while, once it is ready",
    "disk-full": "no space is left for a pulled image, or for a container or node that starts",
    "release-never-ready": "pods of the release run, and never become ready",
    "image-missing": "the image does not exist: a pulled one, or those of the release's pods",
    "repository-fails": "a chart repository answers 500",
    "engine-restarts": "the engine closes its stream of events, as at its own end",
    "killed": "the program with that command line is killed during its work",
    "hangs": "the program with that command line hangs during its work",
}
_FIELDS = ("name", "target", "after", "times", "seconds")


def parse(text: str) -> dict[str, Any]:
    """One fault of an option: `NAME[=TARGET][,after=S][,times=N][,seconds=S]`. Raises `BadInput`."""
    head, *more = text.split(",")
    name, _, target = (part.strip() for part in head.partition("="))
    numbers: dict[str, float] = {}
    for part in more:
        key, sign, value = part.partition("=")
        try:
            numbers[key.strip()] = int(value) if key.strip() == "times" else float(value)
        except ValueError:
            raise BadInput(
                f"'{part}' of the fault '{text}' is not understood",
                why="a fault's name and target are followed by numbers" if sign else "it has no value",
                fix="write it as NAME=TARGET,after=SECONDS,times=N",
            ) from None
    if name not in NAMES:
        raise BadInput(f"there is no fault '{name}'", why=_meant(name, NAMES), fix=f"use one of: {', '.join(NAMES)}")
    for key, number in numbers.items():
        if key not in _FIELDS[2:]:
            fix = f"it may have: {', '.join(_FIELDS)}"
            raise BadInput(f"the fault {name} has no '{key}'", why=_meant(key, _FIELDS), fix=fix)
        if not number >= 0:
            raise BadInput(
                f"the fault {name}: {key} is {number!r}",
                why="after and seconds are seconds, times is a number, and none of them is less than 0",
                fix=f"correct {key}",
            )
    return {"name": name, "target": target, **numbers}


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else "no known name is similar"


def write(folder: Folder, faults: Sequence[Fault]) -> None:
    """Set the faults from now on; earlier strikes are cleared."""
    folder.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder.state / "struck.json").unlink(missing_ok=True)
    (folder.root / "faults.json").write_text(json.dumps(faults, indent=1) + "\n", encoding="utf-8")


class Faults:
    """The faults of a rehearsal."""

    __slots__ = ("_folder", "rows")

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.rows: list[Fault] = folder.read("faults.json", list)

    def find(self, name: str, *subjects: str) -> Fault | None:
        """The first fault of that name for one of these subjects; not counted."""
        return next((row for row in self.rows if row["name"] == name and _about(row, subjects)), None)

    def strike(self, name: str, *subjects: str) -> Fault | None:
        """The same, if it has not struck often enough; counted."""
        for number, row in enumerate(self.rows):
            if row["name"] != name or not _about(row, subjects):
                continue
            most = row.get("times")
            if most is None:
                return row
            with Document(self._folder.state / "struck.json").change() as counts:
                if counts.get(str(number), 0) < most:
                    counts[str(number)] = counts.get(str(number), 0) + 1
                    return row
        return None


def _about(row: Fault, subjects: Sequence[str]) -> bool:
    """Matches whole words: 80 is no part of 8080, agent-1 none of agent-10."""
    target = str(row.get("target") or "")
    word = re.compile(rf"(?<![A-Za-z0-9]){re.escape(target)}(?![A-Za-z0-9])")
    return not target or any(word.search(subject) for subject in subjects)
