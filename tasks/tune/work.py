"""One daemon.json with what it takes to change it: who writes, who reads it, and what is remembered of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tasks.engine.step import Context
from tasks.errors import BadInput, LaunchError
from tasks.tools.program import Programs
from tasks.tune import memory as remembering
from tasks.tune.document import NotPlain, get, put
from tasks.tune.hands import Hands, Kept
from tasks.tune.memory import Memory, digest
from tasks.tune.merge import MIRRORS, Merged, Wishes, merged, mirrors
from tasks.tune.place import Place
from tasks.tune.reload import reload


class Untouched(LaunchError):
    """Nothing was changed; a launch can go on without."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a change needs."""

    programs: Programs
    hands: Hands
    place: Place
    context: Context | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def file(self) -> Path:
        """The daemon.json."""
        return self.place.file

    def within(self, context: Context) -> Work:
        """The same as part of a step: its programs end with it, and write to its log."""
        return replace(self, context=context, hands=self.hands.within(context))

    def memory(self) -> Memory | None:
        """What is remembered of it."""
        found = self.hands.read(remembering.place(self.file))
        return remembering.load(found.data, self.file) if found is not None else None

    def keep(self, memory: Memory | None, like: Kept) -> None:
        """Remember this, for everybody who may read the file itself; or nothing any more."""
        if memory is None:
            self.hands.remove(remembering.place(self.file))
        else:
            self.hands.write(remembering.place(self.file), replace(like, data=remembering.dump(memory)))

    def beside(self, name: str) -> Path:
        """A file in the same folder."""
        return self.file.with_name(name)

    def put(self, after: Kept | None) -> None:
        """The file as given; None: no file."""
        if after is None:
            self.hands.remove(self.file)
        else:
            self.hands.write(self.file, after)

    def bring(self, now: Kept | None, after: Kept | None) -> None:
        """Put the file there and have Docker work with it. Raises `NotReloaded`.

        Docker keeps mirrors that a file does not name any more (moby: `daemon/reload.go`): it is told first, by a
        file that lives for a moment, that there are none.
        """
        assert self.place.running is not None
        pid, text = self.place.running.pid, text_of(self.file, after)
        like = after or now
        if like is not None and _mirrored(now) and get(text, MIRRORS) is None:
            none = put(text, MIRRORS, [])
            self.put(replace(like, data=none.encode()))
            try:
                reload(self.programs, self.hands, pid, none, self.context)
            finally:
                self.put(after)
        else:
            self.put(after)
        reload(self.programs, self.hands, pid, text, self.context)


def text_of(file: Path, kept: Kept | None) -> str:
    """The text of a daemon.json; empty where there is no file. Raises `BadInput`."""
    try:
        return "" if kept is None else kept.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unfit(file, f"its byte {error.start} is no UTF-8") from None


def unfit(file: Path, why: str) -> BadInput:
    """A file that is left as it is, because nobody could say what a change would make of it."""
    return BadInput(
        f"{file} is not plain JSON: nothing was changed",
        why=why,
        fix="correct it (`dockerd --validate` tells what Docker wants), and run it again",
    )


def plan(place: Place, kept: Kept | None, memory: Memory | None, wishes: Wishes) -> Merged:
    """What a merge makes of the file. Raises `BadInput`."""
    earlier = memory.changes if memory is not None and written(kept, memory) else {}
    try:
        return merged(
            text_of(place.file, kept), wishes, earlier, place.running.given if place.running is not None else ()
        )
    except NotPlain as error:
        raise unfit(place.file, str(error)) from None


def settled(kept: Kept | None, memory: Memory | None, made: Merged) -> bool:
    """Whether nothing is left to do: the file is as wished, and Docker works with it as far as is known."""
    unfinished = memory is not None and not memory.applied and written(kept, memory)
    return not made.told and not unfinished


def written(kept: Kept | None, memory: Memory) -> bool:
    """Whether what is remembered was ever written: a run may have ended between the two."""
    return memory.applied or (kept is not None and digest(kept.data) == memory.written)


def _mirrored(kept: Kept | None) -> bool:
    if kept is None:
        return False
    with contextlib.suppress(NotPlain, UnicodeDecodeError):
        return bool(mirrors(kept.data.decode("utf-8")))
    return False
