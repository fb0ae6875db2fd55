"""Writing to the API and watching it by certificate: streams that end, break, and are ended from another thread."""

from __future__ import annotations

import gc
import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tasks.kube.client import ApiError, Direct
from tasks.kube.https import CertApi, Lines
from tests.tls import Certificates, Served, access, serving, status

WATCH = "/api/v1/pods?watch=1"
PLACE = "/api/v1/namespaces/a/configmaps/m?fieldManager=openframe"
BODY = '{"kind": "ConfigMap", "data": {"sign": "ä"}}'


@pytest.fixture
def api(served: Served, made: Certificates) -> CertApi:
    return CertApi(access(served.url, made))


def broken(path: str) -> tuple[int, bytes]:
    raise ConnectionAbortedError(path)


def pieces(*parts: bytes, then: threading.Event | None = None, breaks: bool = False) -> Callable[[], Iterator[bytes]]:
    """What a watch is told; then it ends, breaks, or goes on until the event."""

    def tell() -> Iterator[bytes]:
        yield from parts
        if breaks:
            raise ConnectionAbortedError
        if then is not None:
            then.wait(20)

    return tell


def test_it_can_be_written_to_and_watched(api: CertApi) -> None:
    assert isinstance(api, Direct)


# -- patch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [200, 201, 404, 409, 422, 500])
def test_an_object_is_sent_as_server_side_apply_wants_it(api: CertApi, served: Served, code: int) -> None:
    served.answer = lambda _path: status(code, "because")
    assert api.patch(PLACE, BODY) == (code, status(code, "because")[1].decode())
    assert served.taken == [(PLACE, "application/apply-patch+yaml", BODY.encode())]


def test_questions_and_objects_share_connections(api: CertApi, served: Served) -> None:
    for _ in range(3):
        api.get("/x")
        api.patch(PLACE, BODY)
    assert len(set(served.connections)) == 1


def test_an_object_is_sent_once_more_where_a_kept_connection_died(api: CertApi, served: Served) -> None:
    """It was taken, perhaps; to apply it twice is as good as once."""
    api.get("/x")

    def once(path: str) -> tuple[int, bytes]:
        served.answer = lambda _path: (201, b"{}")
        return broken(path)

    served.answer = once
    assert api.patch(PLACE, BODY) == (201, "{}")
    assert [body for _, _, body in served.taken] == [BODY.encode()] * 2


def test_but_not_again_and_again(api: CertApi, served: Served) -> None:
    served.answer = broken
    with pytest.raises(ApiError, match="does not answer") as caught:
        api.patch(PLACE, BODY)
    assert caught.value.transient
    assert len(served.taken) == 1


def test_a_path_before_all_others_is_part_of_both(served: Served, made: Certificates) -> None:
    api = CertApi(access(f"{served.url}/k8s/c-1/", made))
    served.stream = pieces()
    api.patch(PLACE, BODY)
    assert list(api.watch(WATCH)) == []
    assert served.taken[0][0] == f"/k8s/c-1{PLACE}"
    assert served.asked == [f"/k8s/c-1{WATCH}"]


# -- watch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(
    ("parts", "lines"),
    [
        ((), []),
        ((b'{"a": 1}\n', b'{"b": 2}\n'), ['{"a": 1}\n', '{"b": 2}\n']),
        ((b'{"a', b'": 1}\n{"b": ', b"2}\n"), ['{"a": 1}\n', '{"b": 2}\n']),
        ((b'{"a": 1}\n{"b": 2}\n',), ['{"a": 1}\n', '{"b": 2}\n']),
        ((b'{"sign": "\xc3', b'\xa4"}\n'), ['{"sign": "ä"}\n']),
        ((b"x" * 100_000 + b"\n",), ["x" * 100_000 + "\n"]),
    ],
)
def test_lines_come_whole_however_they_were_sent(
    api: CertApi, served: Served, chunked: bool, parts: tuple[bytes, ...], lines: list[str]
) -> None:
    served.stream, served.chunked = pieces(*parts), chunked
    assert list(api.watch(WATCH)) == lines


def test_a_line_comes_when_it_is_told_and_not_when_the_watch_ends(api: CertApi, served: Served) -> None:
    over = threading.Event()
    served.stream = pieces(b'{"a": 1}\n', then=over)
    lines = iter(api.watch(WATCH))
    assert json.loads(next(lines)) == {"a": 1}
    assert not over.is_set()
    over.set()
    assert list(lines) == []


@pytest.mark.parametrize("parts", [(), (b'{"a": 1}\n',), (b'{"a": 1}\n', b'{"b": ')])
def test_a_watch_that_breaks_ends_without_an_error_and_without_half_a_line(
    api: CertApi, served: Served, parts: tuple[bytes, ...]
) -> None:
    served.stream = pieces(*parts, breaks=True)
    assert list(api.watch(WATCH)) == ['{"a": 1}\n'] * bool(parts)


@pytest.mark.parametrize("chunked", [True, False])
def test_who_reads_is_woken_by_the_end_from_another_thread(api: CertApi, served: Served, chunked: bool) -> None:
    over, first, found = threading.Event(), threading.Event(), []
    served.stream, served.chunked = pieces(b'{"a": 1}\n', then=over), chunked
    stream = api.watch(WATCH)

    def read() -> None:
        for line in stream:
            found.append(line)
            first.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert first.wait(5)
    began = time.monotonic()
    stream.close()
    reader.join(5)
    over.set()
    assert not reader.is_alive()
    assert time.monotonic() - began < 1
    assert found == ['{"a": 1}\n']


def test_the_end_may_be_asked_for_before_and_after_and_twice(api: CertApi, served: Served) -> None:
    over = threading.Event()
    served.stream = pieces(then=over)
    early = api.watch(WATCH)
    early.close()
    assert list(early) == []
    early.close()
    early.close()
    over.set()


def test_sockets_of_watches_are_closed(api: CertApi, served: Served) -> None:
    """A socket that is left to the collector warns, and warnings are errors here."""
    served.stream = pieces(b'{"a": 1}\n', b'{"b": 2}\n')
    streams = [api.watch(WATCH) for _ in range(3)]
    assert list(streams[0])
    for line in streams[1]:
        assert line
        break
    streams[2].close()
    assert list(streams[2]) in ([], ['{"a": 1}\n', '{"b": 2}\n'], ['{"a": 1}\n'])
    del streams, line
    gc.collect()


def test_a_watch_is_a_connection_of_its_own(api: CertApi, served: Served) -> None:
    over = threading.Event()
    served.stream = pieces(b"{}\n", then=over)
    api.get("/x")
    lines = iter(api.watch(WATCH))
    next(lines)
    for _ in range(3):
        api.get("/x")
    over.set()
    assert list(lines) == []
    assert len(set(served.connections)) == 2


@pytest.mark.parametrize(
    ("answer", "transient", "why"),
    [
        (status(410, "too old resource version"), False, "too old resource version"),
        (status(403, "pods is forbidden"), False, "pods is forbidden"),
        (status(429, "storage is (re)initializing"), True, "storage is (re)initializing"),
        (status(503, "shutting down"), True, "shutting down"),
        ((404, b"404 page not found\n"), False, "404 page not found"),
    ],
)
def test_a_watch_that_is_refused_is_told(
    api: CertApi, served: Served, answer: tuple[int, bytes], transient: bool, why: str
) -> None:
    served.answer = lambda _path: answer
    with pytest.raises(ApiError, match=f"answered {answer[0]} to /api/v1/pods") as caught:
        api.watch(WATCH)
    assert (caught.value.code, caught.value.transient, caught.value.why) == (answer[0], transient, why)
    gc.collect()


def test_a_refusal_that_breaks_off_is_no_answer(api: CertApi, served: Served) -> None:
    served.length = 100
    served.close_after = True
    served.answer = lambda _path: status(503, "shutting down")
    with pytest.raises(ApiError, match="does not answer") as caught:
        api.watch(WATCH)
    assert (caught.value.code, caught.value.transient) == (0, True)


def test_where_nothing_answers_a_watch_is_told_so(made: Certificates) -> None:
    with serving(made.server, made.authority) as gone:
        api = CertApi(access(gone.url, made))
    for _ in range(2):
        with pytest.raises(ApiError, match="does not answer") as caught:
            api.watch(WATCH)
        assert (caught.value.code, caught.value.transient) == (0, True)


def test_another_clusters_server_is_not_watched(served: Served, made: Certificates) -> None:
    with pytest.raises(ApiError, match="cannot be verified") as caught:
        CertApi(access(served.url, made, authority=made.other)).watch(WATCH)
    assert not caught.value.transient
    gc.collect()


def test_a_silent_watch_is_given_up(served: Served, made: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr("tasks.kube.https._QUIET", 0.3)
    served.stream = pieces(b"{}\n", then=over)
    began = time.monotonic()
    stream = CertApi(access(served.url, made)).watch(WATCH)
    assert isinstance(stream, Lines)
    assert list(stream) == ["{}\n"]
    over.set()
    assert 0.2 < time.monotonic() - began < 3
