"""From a server's files to a program in place: verified, gone on with, one at a time."""

import hashlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tasks.core.errors import LaunchError
from tasks.core.lock import held
from tasks.engine.scheduler import Run
from tasks.engine.step import Bounds, Context, Report, Result, Retry, State, Step, Stopped
from tasks.host import download
from tasks.host.assets import Asset
from tasks.host.download import Fetch, mark
from tests.given import ROOT
from tests.host.server import Behaviour, Server, release, serving
from tests.programs import tarred

CONTENT = b"#!/bin/sh\nexit 0\n" + bytes(range(256)) * 2000
KUBECTL = "/v1.2.3/bin/linux/amd64/kubectl"


def fetching(file: Asset, root: Path, **more: object) -> Fetch:
    folder = root / ".tools" / "bin"
    return Fetch(
        asset=file,
        folder=folder,
        downloads=folder.parent / "downloads",
        environ={},
        before=mark(folder / file.program),
        **more,  # type: ignore[arg-type]
    )


def act(fetch: Fetch, **more: object) -> Report:
    return fetch(Context(step=f"tools: {fetch.asset.program}", deadline=20.0, **more))  # type: ignore[arg-type]


def run(fetch: Fetch) -> Result:
    step = Step(name="f", task="tools", action=fetch, deadline=20.0, retry=Retry(attempts=4, first=0.01))
    return Run([step], Bounds(work=1)).execute()[0]


def in_place(fetch: Fetch) -> bytes:
    created = fetch.folder / fetch.asset.program
    assert stat.S_IMODE(created.stat().st_mode) == 0o755
    assert [path.name for path in fetch.folder.iterdir()] == [created.name]
    return created.read_bytes()


def left(fetch: Fetch) -> list[str]:
    return sorted(path.name for path in fetch.downloads.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize("program", ["k3d", "kubectl", "helm"])
def test_each_program_is_brought_verified_and_placed(server: Server, tmp_path: Path, program: str) -> None:
    fetch = fetching(release(server, program, "v1.2.3", CONTENT), tmp_path)
    output: list[str] = []
    report = act(fetch, say=output.append)
    assert in_place(fetch) == CONTENT
    assert left(fetch) == []
    assert "downloaded v1.2.3" in report.why
    assert output[-1].endswith(" MiB")
    assert len(server.requests) == 2


def test_progress_tells_bytes_now_and_then(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_PAUSE", 0.0)
    output: list[str] = []
    act(fetching(release(server, "kubectl", "v1.2.3", bytes(3 * 1024 * 1024)), tmp_path), say=output.append)
    assert len(output) > 3
    assert output[-2:] == ["3.0 of 3.0 MiB", "3.0 MiB"]


def test_a_file_that_does_not_match_is_deleted_and_never_placed(server: Server, tmp_path: Path) -> None:
    fetch = fetching(release(server, "kubectl", "v1.2.3", CONTENT), tmp_path)
    server.files[KUBECTL] = b"another program"
    fetch.folder.mkdir(parents=True)
    result = run(fetch)
    assert isinstance(result.error, LaunchError)
    for content in (CONTENT, b"another program"):
        assert hashlib.sha256(content).hexdigest() in result.error.why
    assert (result.attempts, list(fetch.folder.iterdir()), left(fetch)) == (1, [], [])


@pytest.mark.parametrize("text", [b"<html>", b"", b"0" * 63])
def test_without_a_usable_checksum_nothing_is_even_asked_for(server: Server, tmp_path: Path, text: bytes) -> None:
    file = release(server, "kubectl", "v1.2.3", CONTENT)
    server.files[f"{KUBECTL}.sha256"] = text
    with pytest.raises(LaunchError, match="not a usable checksum file"):
        act(fetching(file, tmp_path))
    assert server.requests_for(KUBECTL) == []


def test_an_archive_that_matches_but_is_none_is_not_placed(server: Server, tmp_path: Path) -> None:
    file = release(server, "helm", "v1.2.3", CONTENT)
    path = f"/{file.name}"
    server.files[path] = tarred({"linux-amd64/other": CONTENT}, "w:gz")
    server.files[f"{path}.sha256sum"] = f"{hashlib.sha256(server.files[path]).hexdigest()}  {file.name}".encode()
    fetch = fetching(file, tmp_path)
    with pytest.raises(LaunchError, match="does not contain linux-amd64/helm"):
        act(fetch)
    assert not fetch.folder.exists()


@pytest.mark.parametrize(
    ("behaviours", "attempts", "ranges"),
    [
        ([Behaviour(cut=1000)], 2, [None, "bytes=1000-"]),
        ([Behaviour(cut=1000), Behaviour(cut=1000)], 3, [None, "bytes=1000-", "bytes=2000-"]),
        ([Behaviour(cut=1000), Behaviour(status=500)], 3, [None, "bytes=1000-", "bytes=1000-"]),
        ([Behaviour(status=500), Behaviour(status=429)], 3, [None, None, None]),
        # no ranges: from the beginning
        ([Behaviour(cut=1000), Behaviour(ranges=False)], 2, [None, "bytes=1000-"]),
        ([Behaviour(cut=1000, etag=""), Behaviour(etag="")], 2, [None, "bytes=1000-"]),
        # another file under the same address: by If-Range, by its ETag, by its sum
        ([Behaviour(cut=1000, etag='"old"')], 2, [None, "bytes=1000-"]),
        ([Behaviour(cut=1000, etag='"old"'), Behaviour(if_range=False)], 2, [None, "bytes=1000-", None]),
        (
            [Behaviour(cut=1000, etag='"old"'), Behaviour(if_range=False), Behaviour(status=500)],
            3,
            [None, "bytes=1000-", None, None],
        ),
        # a part that does not begin where it should; a range that is refused
        ([Behaviour(cut=1000), Behaviour(shift=7)], 2, [None, "bytes=1000-", None]),
        ([Behaviour(cut=1000), Behaviour(status=416)], 2, [None, "bytes=1000-", None]),
        # the length is not told, and the end comes early
        ([Behaviour(cut=1000, length=False)], 2, [None, None]),
    ],
)
def test_an_attempt_goes_on_where_the_one_before_it_ended(
    server: Server, tmp_path: Path, behaviours: list[Behaviour], attempts: int, ranges: list[str | None]
) -> None:
    fetch = fetching(release(server, "kubectl", "v1.2.3", CONTENT), tmp_path)
    server.plan(KUBECTL, *behaviours)
    result = run(fetch)
    assert (result.state, result.attempts) == (State.RAN, attempts), str(result.error)
    assert in_place(fetch) == CONTENT
    assert [request.headers.get("range") for request in server.requests_for(KUBECTL)] == ranges
    assert left(fetch) == []


def test_a_part_that_turns_out_wrong_is_worth_one_more_attempt(server: Server, tmp_path: Path) -> None:
    """The bytes so far belong to another file, which neither the server nor its marks tell."""
    fetch = fetching(release(server, "kubectl", "v1.2.3", CONTENT), tmp_path)
    server.plan(KUBECTL, Behaviour(cut=1000, etag=""), Behaviour(etag=""))
    with pytest.raises(LaunchError, match="the connection ended"):
        act(fetch)
    part = fetch.downloads / f"{fetch.asset.file}.part"
    part.write_bytes(b"x" * 1000)
    result = run(fetch)
    assert (result.state, result.attempts) == (State.RAN, 2)
    assert in_place(fetch) == CONTENT


def test_a_download_that_was_whole_but_not_yet_verified_is_not_asked_for_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = fetching(release(server, "kubectl", "v1.2.3", CONTENT), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("tasks.host.download.file_digest", lambda _path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            act(fetch)
    act(fetch)
    assert in_place(fetch) == CONTENT
    assert len(server.requests_for(KUBECTL)) == 1


def test_another_version_or_mirror_does_not_go_on_with_the_part(server: Server, tmp_path: Path) -> None:
    server.plan(KUBECTL, Behaviour(cut=1000))
    with pytest.raises(LaunchError, match="the connection ended"):
        act(fetching(release(server, "kubectl", "v1.2.3", CONTENT), tmp_path))
    with serving() as mirror:
        fetch = fetching(release(mirror, "kubectl", "v1.2.3", CONTENT), tmp_path)
        mirror.plan(KUBECTL, Behaviour(cut=500))
        with pytest.raises(LaunchError, match="the connection ended"):
            act(fetch)
        assert "range" not in mirror.requests_for(KUBECTL)[0].headers
    newer = fetching(release(server, "kubectl", "v1.2.4", b"newer"), tmp_path)
    act(newer)
    assert in_place(newer) == b"newer"
    assert left(newer) == []


@pytest.mark.parametrize("path", [KUBECTL, f"{KUBECTL}.sha256"])
def test_what_is_not_there_is_told_once(server: Server, tmp_path: Path, path: str) -> None:
    fetch = fetching(release(server, "kubectl", "v1.2.3", CONTENT), tmp_path)
    del server.files[path]
    result = run(fetch)
    assert result.attempts == 1
    assert f"{server.url}{path} answered with status 404" in result.why
    assert isinstance(result.error, LaunchError)
    assert "tools.kubectl_url" in result.error.fix


def test_a_server_that_sends_parts_unasked_is_refused(server: Server, tmp_path: Path) -> None:
    fetch = fetching(release(server, "kubectl", "v1.2.3", CONTENT), tmp_path)
    server.plan(KUBECTL, Behaviour(status=206), Behaviour(status=206))
    with pytest.raises(LaunchError, match="a part of the file that was not requested"):
        act(fetch)


def test_a_redirect_to_another_host_is_followed_with_the_range(server: Server, tmp_path: Path) -> None:
    with serving() as other:
        other.files["/blob"] = CONTENT
        other.plan("/blob", Behaviour(cut=1000))
        fetch = fetching(release(server, "kubectl", "v1.2.3", CONTENT), tmp_path)
        server.plan(KUBECTL, *[Behaviour(status=302, location=f"{other.url}/blob")] * 2)
        assert run(fetch).attempts == 2
        assert in_place(fetch) == CONTENT
        assert [request.headers.get("range") for request in other.requests] == [None, "bytes=1000-"]


def test_a_file_without_end_is_not_kept(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_LARGEST", 1000)
    fetch = fetching(release(server, "kubectl", "v1.2.3", CONTENT), tmp_path)
    for length in (True, False):
        server.plan(KUBECTL, Behaviour(length=length))
        with pytest.raises(LaunchError, match="is larger than"):
            act(fetch)
        assert left(fetch) == []


def test_credentials_of_a_mirror_stand_in_no_error_and_in_no_file(server: Server, tmp_path: Path) -> None:
    base = f"http://me:hidden-word@127.0.0.1:{server.port}"
    fetch = fetching(release(server, "kubectl", "v1.2.3", CONTENT, base=base), tmp_path)
    server.plan(KUBECTL, Behaviour(cut=1000), Behaviour(status=403))
    for words in ("the connection ended", "status 403"):
        with pytest.raises(LaunchError, match=words) as caught:
            act(fetch)
        assert "hidden-word" not in str(caught.value)
    remaining = b"".join(path.read_bytes() for path in fetch.downloads.iterdir())
    assert b"hidden-word" not in remaining
    act(fetch)
    assert in_place(fetch) == CONTENT
    assert all("authorization" in request.headers for request in server.requests)


def test_being_cancelled_keeps_the_part(server: Server, tmp_path: Path) -> None:
    fetch = fetching(release(server, "kubectl", "v1.2.3", CONTENT), tmp_path)
    server.plan(KUBECTL, Behaviour(hang=1000))
    context = Context(step="f", deadline=20.0)
    context.say = lambda _line: context.cancelled.set()
    begin = time.monotonic()
    with pytest.raises(Stopped):
        fetch(context)
    assert time.monotonic() - begin < 3
    act(fetch)
    headers = server.requests_for(KUBECTL)[1].headers
    assert (headers["range"], headers["if-range"]) == ("bytes=1000-", server.etag(KUBECTL))


@pytest.mark.parametrize(("code", "fix"), [(28, "free some space"), (13, "put kubectl on the PATH")])
def test_a_disk_that_cannot_be_written_to_is_told(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fix: str
) -> None:
    fetch = fetching(release(server, "kubectl", "v1.2.3", CONTENT), tmp_path)

    def refused(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("tasks.host.download.replacing", refused)
    with pytest.raises(LaunchError, match=f"kubectl cannot be written to {fetch.folder.parent}") as caught:
        act(fetch)
    assert fix in caught.value.fix
    assert caught.value.why == os.strerror(code)


def test_who_waited_for_another_run_takes_what_that_one_placed(server: Server, tmp_path: Path) -> None:
    file = release(server, "kubectl", "v1.2.3", CONTENT)
    first, second = fetching(file, tmp_path), fetching(file, tmp_path)
    server.plan(KUBECTL, Behaviour(drip=0.0, cut=1000))
    with pytest.raises(LaunchError, match="the connection ended"):
        act(first)
    output: list[str] = []
    reports: list[Report] = []
    waiting = threading.Thread(target=lambda: reports.append(act(second, say=output.append)))
    with held(first.downloads / "kubectl.lock", "program"):
        waiting.start()
        end = time.monotonic() + 10
        while not output:
            assert time.monotonic() < end
            time.sleep(0.01)
        first.folder.mkdir(parents=True)
        (first.folder / "kubectl").write_bytes(CONTENT)  # as another run places it
    waiting.join(10)
    assert output == ["another process is downloading it: waiting for that"]
    assert [report.skipped for report in reports] == [True]


def test_waiting_for_another_run_has_an_end(server: Server, tmp_path: Path) -> None:
    fetch = fetching(release(server, "kubectl", "v1.2.3", CONTENT), tmp_path)
    cancelled = Context(step="f", deadline=20.0)
    cancelled.cancelled.set()
    with held(fetch.downloads / "kubectl.lock", "program"):
        with pytest.raises(LaunchError, match="another process is still downloading"):
            fetch(Context(step="f", deadline=0.1))
        with pytest.raises(Stopped):
            fetch(cancelled)


CHILD = """
import sys
from pathlib import Path
from tasks.engine.step import Context
from tasks.host.download import Fetch
from tests.host.server import Server, release
from tests.programs import tarred
file, tools = release(Server(), "kubectl", "v1.2.3", b"", base=sys.argv[1]), Path(sys.argv[2], ".tools")
fetch = Fetch(asset=file, folder=tools / "bin", downloads=tools / "downloads", environ={})
fetch(Context(step="f", deadline=30.0))
"""


def test_what_a_killed_process_had_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    fetch = fetching(release(server, "kubectl", "v1.2.3", CONTENT), tmp_path)
    server.plan(KUBECTL, Behaviour(hang=200_000))
    part = fetch.downloads / f"{fetch.asset.file}.part"
    command = (sys.executable, "-c", CHILD, server.url, str(tmp_path))
    with subprocess.Popen(command, cwd=ROOT) as running:
        end = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size > 65_536):
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(running.pid, signal.SIGKILL)
    size = part.stat().st_size
    act(fetch)
    assert in_place(fetch) == CONTENT
    assert server.requests_for(KUBECTL)[1].headers["range"] == f"bytes={size}-"
