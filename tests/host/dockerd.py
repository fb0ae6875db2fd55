"""A dockerd that answers as the real one does: it reloads a file at HUP, and emits an event.

From moby's `daemon/reload.go` and `daemon/config/config.go`: numbers go back to their defaults where the file has none,
mirrors stay; a file that it refuses changes nothing, and no event tells of it.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.host.daemon import Place, Running
from tasks.host.tune import Work
from tasks.host.writer import FileState, Writer
from tests.programs import Answer, Call, FakePrograms

PID = 4711
KNOWN = frozenset(
    {"max-concurrent-downloads", "max-concurrent-uploads", "registry-mirrors", "debug", "log-opts", "dns"}
)


@dataclass
class Dockerd:
    """The engine's side."""

    file: Path
    argv: tuple[str, ...] = ("dockerd",)
    validates: bool = True
    deaf: bool = False
    """It does nothing at HUP."""
    mirrors: list[str] = field(default_factory=list)
    downloads: int = 3
    uploads: int = 5
    reloads: int = 0
    seen: list[bytes] = field(default_factory=list)
    """What the file held at each HUP."""
    _told: list[dict[str, str]] = field(default_factory=list)

    @property
    def programs(self) -> FakePrograms:
        answers: dict[str, Any] = {
            "kill -HUP": self.hup,
            "docker events": self.events,
            "sudo -n true": "",
            "sudo -n kill -HUP": self.hup,
            "sudo -n": as_root,
        }
        if self.validates:
            answers["/fake/dockerd --validate"] = self.validate
        return FakePrograms(answers=answers, paths={"dockerd": "/fake/dockerd"} if self.validates else {})

    def refusal(self, data: bytes) -> str | None:
        try:
            document = json.loads(data.decode("utf-8-sig")) if data.strip() else {}
        except ValueError as error:
            return f"invalid character: {error}"
        unknown = sorted(set(document) - KNOWN)
        if unknown:
            return f"the following directives don't match any configuration option: {', '.join(unknown)}"
        names = {part.removeprefix("--").partition("=")[0] for part in self.argv[1:]}
        twice = [key for key in document if {key, key.removesuffix("s")} & names]
        if twice:
            return f"the following directives are specified both as a flag and in the configuration file: {twice[0]}"
        return None

    def validate(self, call: Call) -> Answer:
        path = call.command.argv[-1].partition("=")[2]
        against = self.refusal(Path(path).read_bytes())
        if against is None:
            return Answer(err="configuration OK\n")
        return Answer(code=1, err=f"unable to configure the Docker daemon with file {path}: {against}\n")

    def hup(self, call: Call) -> Answer:
        assert call.command.argv[-1] == str(PID)
        data = self.file.read_bytes() if self.file.exists() else b""
        self.seen.append(data)
        if self.deaf or self.refusal(data) is not None:
            return Answer()
        document = json.loads(data.decode("utf-8-sig")) if data.strip() else {}
        self.downloads = document.get("max-concurrent-downloads") or 3
        self.uploads = document.get("max-concurrent-uploads") or 5
        if "registry-mirrors" in document:
            self.mirrors = document["registry-mirrors"] or []
        self.reloads += 1
        self._told.append(
            {
                "max-concurrent-downloads": str(self.downloads),
                "max-concurrent-uploads": str(self.uploads),
                "registry-mirrors": json.dumps(self.mirrors),
            }
        )
        return Answer()

    def events(self, _call: Call) -> str:
        reported = self._told[-1:]
        self._told.clear()
        return "".join(json.dumps({"Type": "daemon", "Action": "reload", "Actor": {"Attributes": a}}) for a in reported)

    @property
    def values(self) -> tuple[int, int, list[str]]:
        return self.downloads, self.uploads, self.mirrors


def as_root(call: Call) -> Answer:
    """What sudo would run, run as this user: on files of the test."""
    done = subprocess.run(call.command.argv[2:], capture_output=True, check=False)
    return Answer(code=done.returncode, err=done.stderr.decode(), raw=done.stdout)


def running(argv: Sequence[str] = ("dockerd",)) -> Running:
    return Running(pid=PID, user=0, argv=tuple(argv))


def work(engine: Dockerd, programs: FakePrograms | None = None, **changes: Any) -> Work:
    programs = programs or engine.programs
    place = Place(file=engine.file, running=running(engine.argv))
    return Work(**{"programs": programs, "writer": Writer(programs=programs), "place": place, **changes})


def kept(path: Path) -> FileState:
    return FileState(data=path.read_bytes(), mode=0o644, user=os.geteuid(), group=os.getegid())


def process(proc: Path, pid: int, argv: Sequence[str], name: str = "dockerd", inside: str = "") -> None:
    """A process as /proc shows it."""
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "cmdline").write_bytes(b"".join(part.encode() + b"\0" for part in argv))
    (folder / "status").write_text(f"Name:\t{name}\nUmask:\t0022\nNSpid:\t{pid}{inside}\n")
