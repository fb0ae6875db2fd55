"""A .helmignore as Helm reads it: the cases of its own tests (`pkg/ignore/rules_test.go`), and rules in doubt."""

from pathlib import Path

import pytest

from tasks.clients.helmignore import helmignore


@pytest.mark.parametrize(
    ("rule", "name", "folder", "ignored"),
    [
        ("helm.txt", "helm.txt", False, True),
        ("helm.*", "rudder.txt", False, False),
        ("*.txt", "cargo/a.txt", False, True),
        ("cargo/*.txt", "cargo/a.txt", False, True),
        ("cargo/*.txt", "mast/a.txt", False, False),
        ("*/a.txt", "cargo/deep/a.txt", False, False),
        ("ru[c-e]?er.txt", "rudder.txt", False, True),
        ("[^r]*", "rudder.txt", False, False),
        ("", "templates/.dotfile", False, True),
        (".*", ".swp", False, True),
        ("cargo/", "cargo", True, True),
        ("cargo/", "cargo", False, False),
        ("/a.txt", "cargo/a.txt", False, False),
        ("/cargo/a.txt", "cargo/a.txt", False, True),
        ("# a\r\n\r\n*~\r\n", "values.yaml~", False, True),
        ("!a.txt", "b.txt", False, False),
        ("*.yaml\n!Chart.yaml", "Chart.yaml", False, True),
        ("a/**/b", "a/x/b", False, False),
    ],
)
def test_what_helm_does_not_read(tmp_path: Path, rule: str, name: str, folder: bool, ignored: bool) -> None:
    (tmp_path / ".helmignore").write_bytes(f"\ufeff{rule}\n".encode())
    assert helmignore(tmp_path)(name, folder) is ignored


def test_without_one_only_hidden_templates_are_not_read(tmp_path: Path) -> None:
    assert [helmignore(tmp_path)(name, False) for name in ("templates/.a", ".a")] == [True, False]
