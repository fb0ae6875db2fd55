"""Docker is asked whether it takes a file, told to read it, and listened to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.host.daemon import NotReloaded, differences, reload, validate
from tasks.host.daemon_json import parse
from tasks.host.writer import Writer
from tests.programs import Answer, Asked, FakePrograms

TEXT = '{"max-concurrent-downloads": 10, "registry-mirrors": ["http://127.0.0.1:5051"]}'
TOLD = {
    "max-concurrent-downloads": "10",
    "max-concurrent-uploads": "5",
    "registry-mirrors": '["http://127.0.0.1:5051/"]',
    "debug": "false",
}


def event(attributes: Any = TOLD) -> str:
    return json.dumps({"Type": "daemon", "Action": "reload", "Actor": {"ID": "x", "Attributes": attributes}}) + "\n"


def told(events: Any) -> FakePrograms:
    programs = FakePrograms(answers={"kill": "", "docker events": events})
    reload(programs, Writer(programs=programs), 12, TEXT, None)
    return programs


def test_the_signal_comes_first_and_only_later_events_count() -> None:
    programs = told('no event\n{"Type": "daemon"}\n' + event())
    assert programs.lines[0] == "kill -HUP 12"
    asked = programs.told("docker events")[0].command.argv
    since, until = float(asked[asked.index("--since") + 1]), float(asked[asked.index("--until") + 1])
    assert until - since == pytest.approx(10, abs=1e-3)
    assert programs.asked[1].deadline > 10
    assert "type=daemon" in asked
    assert "event=reload" in asked


@pytest.mark.parametrize("events", ["", "nothing\n", Answer(code=1, err="error during connect"), Answer(late=True)])
def test_no_event_is_no_reload(events: Any) -> None:
    with pytest.raises(NotReloaded, match="has not read"):
        told(events)


def test_other_values_are_of_another_file() -> None:
    with pytest.raises(NotReloaded, match="another daemon") as caught:
        told(event({**TOLD, "max-concurrent-downloads": "3"}))
    assert "max-concurrent-downloads 3" in caught.value.why


@pytest.mark.parametrize(
    ("changes", "text", "count"),
    [
        ({}, TEXT, 0),
        ({"registry-mirrors": "[]"}, TEXT, 1),
        ({"registry-mirrors": "[]"}, "{}", 1),
        ({"max-concurrent-downloads": "3", "registry-mirrors": '["x"]'}, "", 0),  # those of before stay without the key
        ({"max-concurrent-downloads": "3", "registry-mirrors": "[]"}, '{"registry-mirrors": []}', 0),
        ({"registry-mirrors": "what"}, TEXT, 1),
        ({"max-concurrent-uploads": "9"}, TEXT, 1),
    ],
)
def test_differences(changes: dict[str, str], text: str, count: int) -> None:
    assert len(differences({**TOLD, **changes}, parse(text))) == count
    assert differences({}, parse(text)) == [], "what an engine does not tell is not compared"


def dockerd(script: Any, **paths: str | None) -> FakePrograms:
    return FakePrograms(answers={"/fake/dockerd": script}, paths={"dockerd": "/fake/dockerd", **paths})


def test_a_file_is_shown_to_dockerd_in_private() -> None:
    seen = []

    def answer(asked: Asked) -> str:
        path = Path(asked.command.argv[-1].removeprefix("--config-file="))
        seen.append((path.read_bytes(), path.stat().st_mode & 0o777, path))
        return ""

    assert validate(dockerd(answer), ("dockerd",), b"{}", None) is None
    ((data, mode, path),) = seen
    assert (data, mode) == (b"{}", 0o600)
    assert not path.exists()


@pytest.mark.parametrize(
    ("answer", "against"),
    [
        (Answer(err="configuration OK"), None),
        (Answer(code=1, err="unable to configure the Docker daemon with file X: x: don't match"), "don't match"),
        (Answer(code=125, err="Status: unknown flag: --validate\nSee 'dockerd --help'., Code: 125"), None),
        (Answer(code=1, err="dockerd needs to be started with root privileges."), None),
        (Answer(code=1), "ended with code 1"),
        (Answer(late=True), None),
    ],
)
def test_what_dockerd_says(answer: Answer, against: str | None) -> None:
    said = validate(dockerd(answer), ("dockerd",), b"{}", None)
    assert (said is None) is (against is None)
    assert against is None or against in str(said)


def test_a_dockerd_off_the_path_is_found_and_without_any_nobody_is_asked() -> None:
    programs = FakePrograms(
        answers={"/usr/sbin/dockerd": ""}, paths={"dockerd": None, "/usr/sbin/dockerd": "/usr/sbin/dockerd"}
    )
    assert validate(programs, ("dockerd",), b"{}", None) is None
    assert programs.lines == []
    validate(programs, ("dockerd", "/usr/sbin/dockerd"), b"{}", None)
    assert programs.lines[0].startswith("/usr/sbin/dockerd --validate")
