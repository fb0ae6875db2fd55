"""Programs and an API that answer from a table, and remember what they were asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tasks.engine.step import Context
from tasks.kube.client import ApiError, content
from tasks.process.command import Command, CommandFailed, Completed
from tasks.process.programs import Programs


class FakePrograms(Programs):
    """`answer` says what a command writes to stdout and stderr, and its code."""

    def __init__(self, answer: Callable[[Command], tuple[str, str, int]]) -> None:
        super().__init__()
        object.__setattr__(self, "answer", answer)
        object.__setattr__(self, "ran", [])

    answer: Callable[[Command], tuple[str, str, int]]
    ran: list[tuple[Command, bool]]

    def run(
        self,
        command: Command,
        context: Context | None = None,
        *,
        listen: Callable[[str], None] | None = None,
        quiet: bool = False,
    ) -> Completed:
        self.ran.append((command, quiet))
        out, err, code = self.answer(command)
        done = Completed(command=command, code=code, out=out, err=err, seconds=0.0, quiet=quiet)
        if code not in command.ok:
            raise CommandFailed(done)
        return done


class FakeApi:
    """Answers by path: a document, a status with its text, or an error to raise. All else is 404."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []

    def get(self, path: str) -> Any:
        return content(path, *self.raw(path))

    def raw(self, path: str) -> tuple[int, str]:
        self.asked.append(path)
        found = self.answers.get(path, (404, "not found"))
        if isinstance(found, ApiError):
            raise found
        if isinstance(found, tuple):
            code, text = found
            return int(code), str(text)
        return 200, json.dumps(found)
