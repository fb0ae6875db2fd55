"""invoke.yaml belongs to invoke and to us: each keeps its own, and nothing of it ends in a traceback."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.config import Config

from tasks.core.errors import BadInput
from tasks.settings.files import INVOKES, check_invoke_yaml
from tests.settings.project import project, refused, resolved

ROOT = Path(__file__).parents[2]


def test_the_names_that_invoke_takes_for_its_own() -> None:
    assert set(Config.global_defaults()) | {"debug"} == INVOKES


def test_invokes_own_names_are_left_to_it(tmp_path: Path) -> None:
    text = "run: {echo: true}\nsudo: {user: me}\ntasks: {dedupe: false}\ntimeouts: {command: 5}\ndebug: true\n"
    project(tmp_path, text)
    check_invoke_yaml(tmp_path)
    assert resolved(tmp_path).settings == resolved(tmp_path / "config").settings


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("cluster: {agents: 2}\n", "move it below `openframe:`"),
        ("timeouts: {pull: 5}\n", "move it below `openframe:`"),
        ("opneframe: {}\n", "did you mean openframe?"),
        ("clutser: {}\n", "did you mean openframe.cluster?"),
        ("qqqqqq: 1\n", "it is none of debug, openframe, profile"),
        ("[1, 2]\n", "all of it is a list"),
        ("openframe: 5\n", "all of it is 5"),
        ("profile: [a]\n", "profile is a list"),
        ("a: 1\na: 2\n", "is given twice"),
        ("a: [\n", "invoke.yaml"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, reported: str) -> None:
    assert reported in str(refused(project(tmp_path, text)))


@pytest.mark.parametrize("name", ["invoke.yml", "invoke.json", "invoke.py"])
def test_a_file_that_invoke_would_read_instead_is_not_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("", encoding="utf-8")
    assert name in refused(tmp_path).what
    project(tmp_path, "")
    resolved(tmp_path)


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("[1, 2]\n", "all of it is a list"),
        ("run: 5\n", "invoke.yaml, line 1: run is 5"),
        ("run:\n", "run is null"),
        ("a: [\n", "line 2"),
        ("openframe: {cluster: {kubelet_config: {on: 1}}}\n", "in quotes"),
        ("openframe: {cluster: {kubelet_config: {a_b: 1, a: {b: 2}}}}\n", "OPENFRAME_CLUSTER_KUBELET_CONFIG_A_B"),
        ("openframe: {a: 2024-13-45}\n", "put dates in quotes"),
    ],
)
def test_what_invoke_would_answer_with_a_traceback(tmp_path: Path, text: str, reported: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_invoke_yaml(project(tmp_path, text))
    assert reported in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_file_that_only_invoke_cannot_read(tmp_path: Path) -> None:
    """As shells of Windows write it; so it is with UTF-8 where the locale has another encoding."""
    project(tmp_path, "").joinpath("invoke.yaml").write_bytes("openframe: {}\n".encode("utf-16"))
    with pytest.raises(BadInput, match="save it as UTF-8"):
        check_invoke_yaml(tmp_path)


@pytest.mark.parametrize(
    ("variable", "text"),
    [("INVOKE_OPENFRAME_CLUSTER_AGENTS", "many"), ("INVOKE_OPENFRAME_NAMESPACES", "a b"), ("INVOKE_RUN_WATCHERS", "x")],
)
def test_variables_invoke_rejects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, text: str) -> None:
    project(tmp_path, "openframe: {cluster: {agents: 2}, namespaces: [a]}\n")
    check_invoke_yaml(tmp_path, {})
    monkeypatch.setenv(variable, text)
    with pytest.raises(BadInput, match="INVOKE_"):
        check_invoke_yaml(tmp_path)


def test_a_variable_of_ours_for_invoke_is_refused_and_others_are_not(tmp_path: Path) -> None:
    error = refused(tmp_path, environ={"INVOKE_OPENFRAME_CLUSTER_AGENTS": "3"})
    assert "INVOKE_OPENFRAME_CLUSTER_AGENTS" in error.what
    assert "--set" in error.fix
    with pytest.raises(BadInput, match="has no effect"):
        check_invoke_yaml(project(tmp_path, ""), {"INVOKE_OPENFRAME_X": "1"})
    resolved(tmp_path, environ={"INVOKE_RUN_ECHO": "1", "INVOKE_DEBUG": "1"})


def test_the_check_does_not_load_pydantic() -> None:
    code = (
        "import sys; from pathlib import Path; from tasks.settings.files import check_invoke_yaml;"
        f"check_invoke_yaml(Path({str(ROOT)!r})); sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project without its own configuration, for real calls of invoke."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "tasks", root / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tasks.py", root / "tasks.py")
    return root


@pytest.mark.parametrize(
    ("text", "environ", "status", "reported"),
    [
        (
            "openframe: {pool: {downloads: 4}}\n",
            {"INVOKE_RUN_ECHO": "x", "INVOKE_POOL_DOWNLOADS": "y"},
            0,
            "invoke.yaml:1",
        ),
        ("openframe: {pool: {downloads: 4}}\n", {"INVOKE_OPENFRAME_POOL_DOWNLOADS": "y"}, 2, "INVOKE_"),
        ("openframe: {pool: {downloads: 4}}\n", {"INVOKE_OPENFRAME_POOL_DOWNLOADS": "5"}, 2, "has no effect"),
        ("openframe: {namespaces: [a]}\n", {"INVOKE_OPENFRAME_NAMESPACES": "b"}, 2, "has no effect"),
        ("run: 5\n", {}, 2, "run is 5"),
        ("openframe: [\n", {}, 2, "invoke.yaml"),
    ],
)
def test_real_calls_of_invoke(copy: Path, text: str, environ: dict[str, str], status: int, reported: str) -> None:
    (copy / "invoke.yaml").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "config", "--only", "pool.downloads"],
        cwd=copy,
        env={"PATH": os.environ["PATH"], "HOME": str(copy), "PYTHONDONTWRITEBYTECODE": "", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == status, output
    assert reported in output
    assert "Traceback" not in output
