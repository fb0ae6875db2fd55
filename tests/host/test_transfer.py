"""Waiting for a server ends: by silence, by the deadline, by the user, wherever the server hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from tasks.core.errors import LaunchError
from tasks.engine.step import Cancel, Stopped
from tasks.host import transfer
from tasks.host.transfer import Line, Reach
from tests.host.server import Behaviour, Server


def line(seconds: float = 30.0, patience: float = 20.0, cancelled: Cancel | None = None) -> Line:
    return Line(
        environ={},
        reach=Reach("helm", "tools.helm_url"),
        seconds=seconds,
        cancelled=cancelled or Cancel(),
        step="tools: helm",
        patience=patience,
    )


def read(asked: Line, url: str) -> bytes:
    with asked.get(url) as under_way:
        assert under_way.head().status == 200
        return b"".join(under_way.chunks())


def hang_in_resolving(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    end = threading.Event()

    def resolving(*_: Any) -> Any:
        end.wait(30)
        raise OSError("too late")

    monkeypatch.setattr(transfer, "open_address", resolving)
    return end


HANGS = {
    "no answer": Behaviour(silent=True),
    "no body": Behaviour(hang=0),
    "in the body": Behaviour(hang=10),
    "drip": Behaviour(drip=0.02),
}


def test_a_body_comes_whole_also_when_it_is_long(server: Server) -> None:
    server.files["/a"] = bytes(range(256)) * 40_000
    assert read(line(), f"{server.url}/a") == server.files["/a"]


def test_a_slow_reader_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_AHEAD", 1)
    server.files["/a"] = bytes(600_000)
    assert len(read(line(), f"{server.url}/a")) == 600_000


@pytest.mark.parametrize("hang", [key for key in HANGS if key != "drip"])
def test_silence_ends_the_waiting(server: Server, hang: str) -> None:
    server.files["/a"] = bytes(1000)
    server.plan("/a", HANGS[hang])
    begin = time.monotonic()
    with pytest.raises(LaunchError, match=r"has sent nothing for 0\.15 s") as caught:
        read(line(patience=0.15), f"{server.url}/a")
    assert caught.value.transient
    assert time.monotonic() - begin < 3


@pytest.mark.parametrize("hang", HANGS)
def test_the_deadline_ends_it_also_where_bytes_still_come(server: Server, hang: str) -> None:
    server.files["/a"] = bytes(1000)
    server.plan("/a", HANGS[hang])
    begin = time.monotonic()
    with pytest.raises(LaunchError, match=r"did not come within 0\.15 s") as caught:
        read(line(seconds=0.15), f"{server.url}/a")
    assert not caught.value.transient
    assert time.monotonic() - begin < 3


class Endless:
    """An answer whose next bytes are always there."""

    status = 200
    headers: Mapping[str, str] = MappingProxyType({})

    def read1(self, _size: int) -> bytes:
        return b"x"

    def close(self) -> None:
        """Nothing is open."""


def test_the_deadline_ends_what_never_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "open_address", lambda *_: Endless())

    def read_slowly() -> None:
        with line(seconds=0.1).get("http://h/a") as under_way:
            under_way.head()
            for _, _ in zip(range(100), under_way.chunks(), strict=False):
                time.sleep(0.01)  # slower than the server: something always lies there

    with pytest.raises(LaunchError, match="did not come within"):
        read_slowly()


@pytest.mark.parametrize("hang", HANGS)
def test_being_cancelled_ends_it_at_once(server: Server, hang: str) -> None:
    server.files["/a"] = bytes(1000)
    server.plan("/a", HANGS[hang])
    cancelled = Cancel()
    timer = threading.Timer(0.05, cancelled.set)
    timer.start()
    begin = time.monotonic()
    with pytest.raises(Stopped):
        read(line(cancelled=cancelled), f"{server.url}/a")
    assert time.monotonic() - begin < 2
    timer.join()


def test_a_name_that_is_never_resolved_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    end = hang_in_resolving(monkeypatch)
    cancelled = Cancel()
    timer = threading.Timer(0.1, cancelled.set)
    timer.start()
    with pytest.raises(Stopped):
        read(line(cancelled=cancelled), "http://h/a")
    with pytest.raises(LaunchError, match="did not come within"):
        read(line(seconds=0.1), "http://h/a")
    end.set()
    timer.join()


def test_what_was_cancelled_before_asks_nobody_for_long(server: Server) -> None:
    server.files["/a"] = b"x"
    cancelled = Cancel()
    cancelled.set()
    with pytest.raises(Stopped):
        read(line(cancelled=cancelled), f"{server.url}/a")


def test_the_thread_that_is_left_behind_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_AHEAD", 2)
    server.files["/a"] = bytes(50_000_000)
    asked = line()
    with asked.get(f"{server.url}/a") as under_way:
        under_way.head()
        next(under_way.chunks())
    end = time.monotonic() + 5
    while any(thread.name == "tools: helm: transfer" for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_error_of_the_line_is_the_readers(server: Server) -> None:
    with pytest.raises(LaunchError, match=r"connection to 127\.0\.0\.1:1 failed") as caught:
        read(line(), "http://127.0.0.1:1/a")
    assert caught.value.transient
    server.plan("/t", Behaviour(status=503))
    with pytest.raises(LaunchError, match="answered with status 503"):
        line().text(f"{server.url}/t")


def test_a_text_is_short_or_refused(server: Server) -> None:
    server.files["/t"] = "grüß dich".encode()
    assert line().text(f"{server.url}/t") == "grüß dich"
    with pytest.raises(LaunchError, match="is longer than 5 bytes"):
        line().text(f"{server.url}/t", limit=5)
