"""The file of a bundle: the same lock is the same bytes, and a hostile one is refused before anything is written."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.clients.bundle import Bundle, File, Image, Lock, wheels
from tasks.clients.bundle_archives import Writer, engine_archive, registry_archive
from tasks.core.errors import BadInput, LaunchError
from tests import given

PROGRAM = b"\x7fELF" + b"x" * 3_000_000
WHEEL = b"a wheel"
NAME = "docker.io/shop/web:1"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


CONFIG, LAYER = b'{"architecture":"amd64"}', b"layer" * 1000
MANIFEST = json.dumps({"config": {"digest": digest(CONFIG)}, "layers": [{"digest": digest(LAYER)}]}).encode()
INDEX = json.dumps({"manifests": [{"digest": digest(MANIFEST)}]}).encode()
PACKED = gzip.compress(PROGRAM, mtime=0)
CONTENT = {digest(each): each for each in (CONFIG, LAYER, MANIFEST, INDEX, PACKED, WHEEL)}
LOCK = Lock(
    platform="linux/amd64",
    target="linux-amd64",
    images={NAME: Image(digest=digest(INDEX), manifest=digest(MANIFEST), engine=True, node=True)},
    programs={
        "k3d": File(name="k3d v5", file="k3d", digest=digest(PACKED), sha256=digest(PROGRAM)[7:], size=len(PROGRAM))
    },
    wheels={"web-1-py3-none-any.whl": digest(WHEEL)},
    pythons=("3.11",),
    blobs={name: len(content) for name, content in CONTENT.items()},
)


def written(path: Path, lock: Lock = LOCK, content: dict[str, bytes] = CONTENT) -> Path:
    with path.open("wb") as file:
        writer = Writer(lock, file)
        for name in sorted(lock.blobs, reverse=True):  # in any order
            writer.put(name, [content[name]])
    return path


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]


def test_the_same_lock_is_the_same_bytes_and_comes_back(tmp_path: Path) -> None:
    one, other = written(tmp_path / "a"), written(tmp_path / "b")
    assert one.read_bytes() == other.read_bytes()
    with Bundle(one) as bundle:
        bundle.verify()
        assert bundle.lock == LOCK
        program = io.BytesIO()
        bundle.program("k3d", program.write)
        assert program.getvalue() == PROGRAM
    assert json.loads(members(one)["index.json"])["manifests"][0]["digest"] == digest(MANIFEST)


def test_what_is_something_else_does_not_come_in(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file, pytest.raises(LaunchError, match="not the expected content"):
        Writer(LOCK, file).put(digest(LAYER), [LAYER[:-1] + b"!"])


def test_what_the_engine_and_a_registry_take(tmp_path: Path) -> None:
    with Bundle(written(tmp_path / "a")) as bundle:
        with (tmp_path / "engine").open("wb") as out:
            engine_archive(bundle, [NAME], out)
        with (tmp_path / "registry").open("wb") as out:
            registry_archive(bundle, {NAME: ("shop/web", "1")}, out)
    engine = members(tmp_path / "engine")
    (listed,) = json.loads(engine["manifest.json"])
    assert listed["RepoTags"] == [NAME]
    assert [engine[each] for each in (listed["Config"], *listed["Layers"])] == [CONFIG, LAYER]
    with tarfile.open(tmp_path / "registry") as tar:
        files = {each.name: tar.extractfile(each).read() for each in tar if each.isreg()}  # type: ignore[union-attr]
    base = "docker/registry/v2/repositories/shop/web/_manifests"
    assert files[f"{base}/tags/1/current/link"].decode() == digest(INDEX)
    assert files[f"docker/registry/v2/blobs/sha256/{digest(LAYER)[7:9]}/{digest(LAYER)[7:]}/data"] == LAYER


def lock_text(change: Callable[[dict[str, object]], object]) -> bytes:
    found = json.loads(LOCK.text())
    change(found)
    return json.dumps(found).encode()


def archive(path: Path, *, lock: bytes | None = None, more: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    """A bundle by hand."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in (
            ("bundle.json", LOCK.text() if lock is None else lock),
            *((f"blobs/{name.replace(':', '/')}", content) for name, content in CONTENT.items()),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for each in more:
            tar.addfile(each)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


OTHER = f"blobs/sha256/{'0' * 64}"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (member("../../etc/passwd"), "it has an unexpected member"),
        (member("/etc/passwd"), "it has an unexpected member"),
        (member(OTHER, tarfile.SYMTYPE, "/etc/passwd"), "is not a plain file"),
        (member(OTHER, tarfile.LNKTYPE, "bundle.json"), "is not a plain file"),
        (member(OTHER, tarfile.CHRTYPE), "is not a plain file"),
        (member(OTHER), "the archive has members that it does not list"),
        (member("bundle.json"), "is there twice"),
    ],
)
def test_hostile_members_are_refused(tmp_path: Path, more: tarfile.TarInfo, why: str) -> None:
    with pytest.raises(BadInput, match="cannot be used as a bundle") as caught:
        Bundle(archive(tmp_path / "a", more=(more,)))
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda lock: lock.update(format=2), "its format is 2"),
        (lambda lock: lock.update(wheels={"../x.whl": digest(WHEEL)}), "it names '../x.whl'"),
        (lambda lock: lock.update(wheels={".pth": digest(WHEEL)}), "it names '.pth'"),
        (lambda lock: lock.update(charts={"../../x": lock["programs"]["k3d"]}), "it names '../../x'"),
        (lambda lock: lock.update(programs={"sh": lock["programs"]["k3d"]}), "it names 'sh'"),
        (lambda lock: lock.update(images={"x/../../y:1": lock["images"][NAME]}), "it names"),
        (lambda lock: lock.update(images=[1]), "a part of it is invalid"),
        (lambda lock: lock.update(more=1), "a part of it is invalid"),
        (lambda lock: lock["blobs"].update({digest(LAYER): 7}), "not of the size"),
        (lambda lock: lock["blobs"].pop(digest(WHEEL)), "it does not list"),
    ],
)
def test_hostile_locks_are_refused(tmp_path: Path, change: Callable[[dict[str, object]], object], why: str) -> None:
    with pytest.raises(BadInput) as caught:
        Bundle(archive(tmp_path / "a", lock=lock_text(change)))
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no tar archive"),
        (b"x" * 4000, "no tar archive"),
        (b"{" * 100_000, "no tar archive"),
        (gzip.compress(b"x" * 10_000, mtime=0), "it is compressed by gzip"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 4000, "it is compressed by zstd"),
    ],
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(BadInput, match="cannot be used as a bundle") as caught:
        Bundle(tmp_path / "a")
    assert why in caught.value.why


@pytest.mark.parametrize(("make", "why"), [(os.mkfifo, "a pipe"), (os.mkdir, "a folder")])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], object], why: str) -> None:
    make(tmp_path / "a")
    with pytest.raises(BadInput) as caught:
        Bundle(tmp_path / "a")
    assert why in caught.value.why


def test_a_cut_off_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "a").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput) as caught:
        Bundle(tmp_path / "cut")
    assert "end is missing" in caught.value.why
    at = whole.index(LAYER)
    (tmp_path / "flipped").write_bytes(whole[:at] + b"L" + whole[at + 1 :])
    with Bundle(tmp_path / "flipped") as bundle, pytest.raises(BadInput) as caught:
        bundle.verify()
    assert "it is damaged" in caught.value.why


def test_a_program_is_never_unpacked_past_its_size(tmp_path: Path) -> None:
    bomb = replace(LOCK, programs={"k3d": replace(LOCK.programs["k3d"], size=1000)})
    fetched = io.BytesIO()
    with Bundle(written(tmp_path / "a", bomb)) as bundle, pytest.raises(BadInput) as caught:
        bundle.program("k3d", fetched.write)
    assert "larger than its lock says" in caught.value.why
    assert not fetched.getvalue()


def test_an_image_without_its_layer_is_refused(tmp_path: Path) -> None:
    blobs = {name: size for name, size in LOCK.blobs.items() if name != digest(LAYER)}
    with Bundle(written(tmp_path / "a", replace(LOCK, blobs=blobs))) as bundle, pytest.raises(BadInput) as caught:
        bundle.verify()
    assert f"a part of the image {NAME} is missing" in caught.value.why


def test_wheels_come_out_with_python_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "a")
    (tmp_path / "out").mkdir()
    wheels(path, tmp_path / "out", "3.11")
    assert (tmp_path / "out" / "web-1-py3-none-any.whl").read_bytes() == WHEEL
    with pytest.raises(BadInput, match="cannot be used") as caught:
        wheels(path, tmp_path / "out", "3.9")
    assert "no wheels for Python 3.9" in caught.value.why
    argv = [sys.executable, "-I", "-S", "-c"]
    script = f"import sys; sys.path.insert(0, {str(given.ROOT)!r}); from tasks.clients.bundle import main; "
    done = subprocess.run(
        [*argv, f"{script}sys.exit(main([{str(tmp_path / 'none')!r}, '.']))"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot be used as a bundle" in done.stderr
