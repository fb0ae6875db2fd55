"""What is wrong with settings, each with its place, and all of them as one error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.errors import BadInput
from tasks.settings.origin import Origin, Path, dotted
from tasks.settings.private import printable

_SHOWN = 8
_LIST = "docs/reference/settings.md lists all settings, `invoke config` those in force"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One value that cannot be used."""

    origin: Origin
    what: str
    why: str
    fix: str = ""
    enough: bool = False
    """The fix alone says it all."""

    @property
    def told(self) -> str:
        """In one line, among others."""
        rest = self.fix if self.enough else "; ".join(part for part in (self.why, self.fix) if part)
        return f"{self.origin.place}: {self.what}: {rest}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a rule forbids, and where: in lists of parts their numbers stand."""

    path: tuple[str | int, ...]
    text: str
    """Goes on after the path."""
    why: str
    fix: str = ""
    other: tuple[str | int, ...] = ()
    """The second place, where two clash: it is told of if only that one has been set."""


def refusal(problems: Sequence[Problem]) -> BadInput:
    """One error of all problems; the first few are told."""
    unique = list(dict.fromkeys(problems))
    first = unique[0]
    if len(unique) == 1:
        what, fix = f"{first.origin.place}: {first.what}", first.fix or f"correct it; {_LIST}"
        return BadInput(printable(what), why=printable(first.why), fix=printable(fix))
    lines = [printable(each.told) for each in unique[:_SHOWN]]
    if len(unique) > _SHOWN:
        lines.append(f"and {len(unique) - _SHOWN} more")
    return BadInput(f"{len(unique)} settings cannot be used", why="\n".join(lines), fix=f"correct them; {_LIST}")


def nearest(name: str, names: Iterable[str], likeness: float = 0.6) -> str | None:
    """The name that was probably meant; `likeness` from 0 to 1, as difflib counts it."""
    from difflib import get_close_matches

    known = {each.lower(): each for each in names}
    for spelling in (name[:100].lower(), name[:100].lower().replace("-", "_")):
        if found := get_close_matches(spelling, known, n=1, cutoff=likeness):
            return known[found[0]]
    return None


Everywhere = Iterable[tuple[Path, str | None]]
"""All paths of the tree, each with its variable."""


def unknown(origin: Origin, path: Path, siblings: Sequence[str], everywhere: Everywhere = ()) -> Problem:
    """A name that the tree does not have, and the one that was probably meant."""
    inside, better = dotted(path[:-1]), _meant(path, siblings, everywhere)
    where = f"'{inside}' has" if inside else "there are"
    return Problem(
        origin=origin,
        what=f"there is no setting '{dotted(path)[:80]}'",
        why=f"{where} {', '.join(siblings)}",
        fix=f"did you mean {better}?" if better else "",
        enough=better is not None,
    )


def _meant(path: Path, siblings: Sequence[str], everywhere: Everywhere) -> str | None:
    """A name beside it that is spelled alike; else the variable, or the end of another path; else what is near."""
    name, rows = path[-1].replace("-", "_"), [(dotted(each), variable) for each, variable in everywhere]
    if alike := nearest(name, siblings, 0.75):
        return dotted((*path[:-1], alike))
    last = [(text, text.rpartition(".")[2]) for text, _ in rows]
    same = [text for text, variable in rows if variable == name] + [text for text, own in last if own == name]
    same += [text for text, own in last if name in own.split("_")]
    if same:
        beside = f"{dotted(path[:-1])}."
        return next((text for text in same if text.startswith(beside)), same[0])
    if alike := nearest(name, siblings):
        return dotted((*path[:-1], alike))
    return nearest(dotted(path), [text for text, _ in rows])
