"""Values of a release are merged as Helm merges its files, and told apart by a fingerprint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.run.releases import merged_values, release_fingerprint
from tasks.settings.schema import Release

VALUES = {"IP": "10.0.0.1", "DOMAIN": "example.test"}


def release(**more: Any) -> Release:
    return Release.model_validate({"name": "web", "namespace": "apps", "chart": "repo/web", **more})


def merged(tmp_path: Path, *files: str, **values: Any) -> dict[str, Any]:
    for number, text in enumerate(files):
        (tmp_path / f"{number}.yaml").write_text(text)
    names = tuple(f"{number}.yaml" for number in range(len(files)))
    return merged_values(release(values_files=names, values=values), tmp_path, VALUES)


@pytest.mark.parametrize(
    ("files", "values", "result"),
    [
        ((), {}, {}),
        (("a: 1",), {}, {"a": 1}),
        (("a: 1\nb: 1", "b: 2\nc: 2"), {"c": 3}, {"a": 1, "b": 2, "c": 3}),
        (("a: {b: {c: 1, d: 1}}", "a: {b: {d: 2}}"), {"a": {"b": {"e": 3}}}, {"a": {"b": {"c": 1, "d": 2, "e": 3}}}),
        (("a: [1, 2]", "a: [3]"), {}, {"a": [3]}),
        (("a: [{b: 1}]",), {"a": [{"c": 2}]}, {"a": [{"c": 2}]}),
        (("a: {b: 1}", "a: text"), {}, {"a": "text"}),
        (("a: text", "a: {b: 1}"), {}, {"a": {"b": 1}}),
        (("a: {b: 1}", "a: null"), {}, {"a": None}),
        (("a: {b: 1, c: 1}", "a: {b: null}"), {}, {"a": {"b": None, "c": 1}}),
        (("a: null", "a: {b: 1}"), {}, {"a": {"b": 1}}),
        (("a: {b: 1}\nc: 1\n---\na: {b: 2}\n---\nc: null",), {}, {"a": {"b": 2}, "c": None}),
        (("a: {b: 1}", "a: {}"), {}, {"a": {"b": 1}}),
        (("a: {b: 1}",), {"a": None}, {"a": None}),
        (("a: 1", "", "# nothing\n", "null", "{}"), {}, {"a": 1}),
        (("a: yes\nb: 2024-01-01\nc: 10:30\n1: d",), {}, {"a": True, "b": "2024-01-01", "c": "10:30", "1": "d"}),
    ],
)
def test_values_are_merged_as_helm_does(
    tmp_path: Path, files: tuple[str, ...], values: dict[str, Any], result: dict[str, Any]
) -> None:
    assert merged(tmp_path, *files, **values) == result


def test_placeholders_are_filled_in_texts_of_files_and_settings(tmp_path: Path) -> None:
    found = merged(
        tmp_path,
        "host: 'x.${DOMAIN}'\n${IP}: key\nports: ['${IP}:80', 80]\nother: '${HOME} $IP {{ .Values.x }}'",
        host2="${DOMAIN}${IP}",
    )
    assert found == {
        "host": "x.example.test",
        "${IP}": "key",
        "ports": ["10.0.0.1:80", 80],
        "other": "${HOME} $IP {{ .Values.x }}",
        "host2": "example.test10.0.0.1",
    }


def test_files_are_seen_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, home = tmp_path / "root", tmp_path / "home"
    for folder, number in ((root, 1), (home, 2)):
        folder.mkdir()
        (folder / "v.yaml").write_text(f"{folder.name}: {number}")
        (folder / "v.json").write_text(f'{{"json": {number}}}')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    assert merged_values(release(values_files=["v.yaml"]), root, {}) == {"root": 1}
    assert merged_values(release(values_files=["v.json", "~/v.yaml"]), root, {}) == {"json": 1, "home": 2}
    assert merged_values(release(values_files=[str(home / "v.json")]), root, {}) == {"json": 2}


@pytest.mark.parametrize(
    ("text", "what", "why"),
    [
        (None, "cannot read", "No such file"),
        ("- a", "0.yaml, document 1 (line 1) is a list", "release 'web'"),
        ("text", "is a str, not a mapping", "release 'web'"),
        ("a: 1\n---\n- b", "0.yaml, document 2 (line 3) is a list", "release 'web'"),
        ("a: .inf", "0.yaml, document 1", "no number in JSON"),
    ],
)
def test_a_file_that_helm_would_not_take_names_the_release(
    tmp_path: Path, text: str | None, what: str, why: str
) -> None:
    if text is not None:
        (tmp_path / "0.yaml").write_text(text)
    with pytest.raises(BadInput) as error:
        merged_values(release(values_files=["0.yaml"]), tmp_path, VALUES)
    assert what in error.value.what
    assert why in error.value.why
    assert error.value.fix


def test_odd_values_and_an_odd_home_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the values of 'web'"):
        merged_values(release(values={"a": float("nan")}), tmp_path, VALUES)
    with pytest.raises(BadInput, match=r"~nobody-of-that-name/v\.yaml") as error:
        merged_values(release(values_files=["~nobody-of-that-name/v.yaml"]), tmp_path, VALUES)
    assert "release 'web'" in error.value.why


def test_the_settings_are_not_changed(tmp_path: Path) -> None:
    given = release(values={"a": {"b": "${IP}"}}, values_files=["0.yaml"])
    (tmp_path / "0.yaml").write_text("a: {c: 1}")
    assert merged_values(given, tmp_path, VALUES) == {"a": {"b": "10.0.0.1", "c": 1}}
    assert given.values == {"a": {"b": "${IP}"}}


BASE: dict[str, Any] = {"a": {"b": 1, "c": [1, 2]}, "d": "é"}


def fingerprint(chart: str = "repo/web 1.0", values: dict[str, Any] | None = None, **more: Any) -> str:
    return release_fingerprint(release(**more), chart, BASE if values is None else values)


def test_a_fingerprint_is_the_same_for_the_same_installation() -> None:
    same = {
        fingerprint(),
        fingerprint(values={"d": "é", "a": {"c": [1, 2], "b": 1}}),
        fingerprint(timeout=5, wait=False, needs=["db"], values_files=["x"]),
    }
    assert len(same) == 1
    assert len(same.pop()) == 16


def test_a_fingerprint_changes_with_all_that_is_installed() -> None:
    found = [
        fingerprint(),
        fingerprint(chart="repo/web 1.1"),
        fingerprint(name="other"),
        fingerprint(namespace="other"),
        fingerprint(values={}),
        fingerprint(values={**BASE, "d": None}),
        fingerprint(values={**BASE, "d": "e"}),
        fingerprint(values={**BASE, "a": {"b": "1", "c": [1, 2]}}),
        fingerprint(values={**BASE, "a": {"b": 1, "c": [2, 1]}}),
    ]
    assert len(set(found)) == len(found)
