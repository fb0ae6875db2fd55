"""Whatever is given, the answer is settings or one `BadInput`: never a traceback, never a long wait."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.settings.merge import as_json, as_rows
from tasks.settings.resolve import resolve
from tasks.settings.rules import releases
from tasks.settings.schema import Settings
from tasks.settings.types import Kind, Spec, fields, places
from tests.settings.project import project

pytestmark = pytest.mark.whole

SEED = 20261124
TEXTS = [
    *("", " ", "\t\n", "0", "1", "-1", "2", "3.0", "1.5", "1e3", "1e400", "-0", "NaN", "nan", "inf", "-inf", ".inf"),
    *("9" * 30, "9" * 5000, "0x10", "0o7", "1_000", "１", "٣", "true", "TRUE", "yes", "off", "maybe", "null", "~"),
    *("a", "A", "a b", "a,b", "a" * 64, "a" * 100_000, "-a", "--help", "a/b", "../..", "./x", "/", "~", "~x/y"),
    *("a\x00b", "\x1b[31m", "\udcff", "\ud800\udc00", "\u202e", "💥", "a\nb", "a\rb", "a\u2028b", "ä", "%s%n", "{0}"),
    *("[", "[1", "[1, 2]", "[[[[[[]]]]]]", "{", "{}", "{a: 1}", "{a: {b: {c: d}}}", "a: b: c", "- x", "&a [*a]", "*a"),
    *(
        "!!python/object:os.system x",
        "!!timestamp x",
        "!x y",
        "@",
        "`",
        "%",
        "#",
        "'",
        '"',
        "\\",
        "$X",
        "${IP}",
        "$(id)",
    ),
    *("2G", "1.5GiB", "-2G", "1M", "9" * 20 + "T", "2X", "1.2.3.4", "::1", "256.1.1.1", "0.0.0.0", "localhost"),
    *(
        "v1.32.3",
        "1.32",
        "v1.32.3-k3s1",
        "http://x",
        "https://u:p@x",
        "ftp://x",
        "2024-13-45",
        "10:30",
        "=",
        "<<",
        "on",
    ),
    "[" * 1000,
    "[" * 100_000,
    "{a: " * 1000,
    "[" * 50 + "]" * 50,
]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**63, 2**64, 10**400, 0.5, 1e308, float("nan"), float("inf"), "", "a", "\x00"),
    *("\udcff", [], [[]], [None], ["a"], ["a", "a"], [1], [{}], {}, {"a": None}, {"a": {"a": {"a": []}}}, {"": ""}),
    *({"name": "a"}, {"0": {}}, {"a/b": {}}, {"\x00": 1}, {"a" * 5000: 1}, ["a" * 5000], [True], {"a": [1, {"b": 2}]}),
]
PATHS = [".".join(path) for path, _ in places(Settings)]
VARIABLES = [spec.env for _, spec in places(Settings) if spec.env is not None]


def outcome(root: Path, *sets: str, environ: dict[str, str] | None = None, profile: str | None = None) -> str:
    """`ok`, or the message; everything that follows from good settings is tried too."""
    started = monotonic()
    refused: BadInput | None = None
    try:
        found = resolve(root, environ or {}, profile, sets)
        as_rows(found, "")
        json.loads(as_json(found, ""))
        releases(found.settings)
        json.dumps(found.settings.model_dump(mode="json")).encode()
        assert len(found.settings_hash) == 16
    except BadInput as error:
        refused = error
    assert monotonic() - started < 5
    if refused is None:
        return "ok"
    assert refused.what
    assert refused.why
    assert refused.fix
    text = f"{refused.what}{refused.why.replace(chr(10), '')}{refused.fix}"
    assert text.isprintable(), ascii(text)
    assert len(text) < 8000
    return refused.what


@pytest.mark.parametrize("variable", VARIABLES)
def test_variables_with_odd_values(tmp_path: Path, variable: str) -> None:
    output = {outcome(tmp_path, environ={variable: text}) for text in ["", *random.Random(variable).sample(TEXTS, 40)]}
    assert "ok" in output  # an empty one is not set
    assert all(variable in each or each.endswith("settings cannot be used") for each in output - {"ok"})
    assert len(output) > 3


@pytest.mark.parametrize("path", PATHS)
def test_options_with_odd_values(tmp_path: Path, path: str) -> None:
    for text in random.Random(path).sample(TEXTS, 12):
        output = outcome(tmp_path, f"{path}={text}")
        assert (
            output == "ok" or output.startswith(("--set: ", "default: ")) or output.endswith("settings cannot be used")
        )


def test_options_with_odd_paths(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    pieces = (
        [name for path in PATHS for name in path.split(".")] + TEXTS[:40] + ["0", "cert-manager", "x\\.y", "\\", "["]
    )
    for _ in range(80):
        path = ".".join(chance.choice(pieces) for _ in range(chance.randint(1, 6)))
        outcome(tmp_path, f"{path}={chance.choice(TEXTS)}")
    for text in TEXTS:
        outcome(tmp_path, text)


def _odd(chance: random.Random, spec: Spec, depth: int = 0) -> Any:
    """A value for a place: mostly of its kind, with something odd somewhere."""
    if chance.random() < 0.2 or depth > 6:
        return chance.choice(VALUES)
    if spec.kind is Kind.SECTION and spec.model is not None:
        given = fields(spec.model)
        names = chance.sample(list(given), k=min(len(given), chance.randint(1, 4)))
        result = {name: _odd(chance, given[name], depth + 1) for name in names}
        if chance.random() < 0.2:
            result[chance.choice(["odd", "", "a.b", "nmae", "\x00", "0"])] = chance.choice(VALUES)
        return result
    if spec.kind is Kind.ITEMS and spec.model is not None:
        inner = Spec(kind=Kind.SECTION, model=spec.model)
        parts = [_odd(chance, inner, depth + 1) for _ in range(chance.randint(0, 3))]
        return (
            parts if chance.random() < 0.5 else {chance.choice(["a", "a/b", "0", "cert-manager", ""]): p for p in parts}
        )
    if spec.kind in (Kind.TABLE, Kind.FREE):
        return {chance.choice(["a", "b.c", "", "password", "ä"]): chance.choice(VALUES) for _ in range(2)}
    return chance.choice([spec.default, *VALUES])


def _files(count: int) -> Iterator[str]:
    """Files as JSON, which is YAML: of the tree's own shape, and then broken at random places."""
    chance = random.Random(SEED)
    tree = Spec(kind=Kind.SECTION, model=Settings)
    for number in range(count):
        text = json.dumps(_odd(chance, tree), default=str)
        for _ in range(number % 4):
            at = chance.randrange(len(text) + 1)
            text = (
                text[:at]
                + chance.choice(["", "{", "}", "[", "]", ":", ",", '"', "*a", "&a ", "\n", "\t", "\x00", "!!x "])
                + text[at + 1 :]
            )
        yield text


def test_profiles_of_all_kinds(tmp_path: Path) -> None:
    output = set()
    for text in _files(200):
        project(tmp_path)
        (tmp_path / "config" / "odd.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
        output.add(outcome(tmp_path, profile="odd"))
    assert len(output) > 30  # they are not all refused for one reason
    assert all("config/odd.yaml" in each or each.endswith("settings cannot be used") for each in output - {"ok"})


def test_invoke_files_of_all_kinds(tmp_path: Path) -> None:
    for text in _files(100):
        (tmp_path / "invoke.yaml").write_bytes(f"openframe: {text}\n".encode("utf-8", "surrogatepass"))
        outcome(tmp_path)
        (tmp_path / "invoke.yaml").write_bytes(f"{text}\n".encode("utf-8", "surrogatepass"))
        outcome(tmp_path)


def test_files_of_bytes(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    for _ in range(150):
        content = bytes(
            chance.choice(b"abc:-{}[]&*!|>'\"%@`#, \n\t\x00\xff\xfe\x80") for _ in range(chance.randint(0, 60))
        )
        (tmp_path / "invoke.yaml").write_bytes(content)
        outcome(tmp_path)


@pytest.mark.parametrize("name", TEXTS)
def test_names_of_profiles(tmp_path: Path, name: str) -> None:
    for output in (outcome(tmp_path, profile=name), outcome(tmp_path, environ={"OPENFRAME_PROFILE": name})):
        assert output == "ok" if not name.strip() else "cannot be found" in output or "is no file" in output
