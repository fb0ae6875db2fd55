"""A chart on this machine gets its missing dependencies in a private copy; the user's folder is only read."""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml

from tasks.core.errors import BadInput, LaunchError
from tasks.core.redact import MASK, redact
from tasks.facts.facts import Facts
from tasks.run.chart_dependencies import Source, check, read
from tasks.run.charts import REPOSITORIES, chart_of
from tests import given
from tests.programs import Answer, Call, FakePrograms
from tests.run.test_charts import of, planned, release, run

SHOP = {"shop": "https://shop.example.com/charts"}
LISTED = "NAME\tVERSION\tREPOSITORY\tSTATUS\n"


def chart(folder: Path, *dependencies: Mapping[str, str], version: str = "1.0.0", lock: Any = None) -> Path:
    """A chart's folder named for the chart; `lock`: rows of its Chart.lock."""
    (folder / "templates").mkdir(parents=True)
    document = {"apiVersion": "v2", "name": folder.name, "version": version, "dependencies": list(dependencies)}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(document))
    (folder / "templates" / "all.yaml").write_text(f"# of {folder.name}\n")
    if lock is not None:
        (folder / "Chart.lock").write_text(yaml.safe_dump({"digest": "sha256:0", "dependencies": lock}))
    return folder


def on(name: str, repository: str, version: str = "^1.0.0", **more: str) -> dict[str, str]:
    return {"name": name, "version": version, "repository": repository, **more}


def remotes(source: Source | None) -> list[tuple[str, str | None, str | None]]:
    assert source is not None
    return [(each.reference, each.url, each.version) for each in source.all_remotes()]


@pytest.mark.parametrize(
    ("repository", "reference", "url"),
    [
        ("https://shop.example.com/charts/", "shop/web", SHOP["shop"]),
        ("@shop", "shop/web", SHOP["shop"]),
        ("alias:shop", "shop/web", SHOP["shop"]),
        ("https://other.example.com", "https://other.example.com/web", "https://other.example.com"),
        ("oci://r.example.com/charts/", "oci://r.example.com/charts/web", None),
    ],
)
def test_where_a_dependency_comes_from(repository: str, reference: str, url: str | None, tmp_path: Path) -> None:
    assert remotes(read(chart(tmp_path / "all", on("web", repository)), SHOP)) == [(reference, url, "^1.0.0")]


def test_dependencies_of_the_older_files_are_read_too(tmp_path: Path) -> None:
    folder = chart(tmp_path / "all")
    (folder / "requirements.yaml").write_text(yaml.safe_dump({"dependencies": [on("web", "@shop")]}))
    (folder / "requirements.lock").write_text(yaml.safe_dump({"dependencies": [on("web", SHOP["shop"], "1.0.1")]}))
    assert remotes(read(folder, SHOP)) == [("shop/web", SHOP["shop"], "1.0.1")]


@pytest.mark.parametrize(
    ("inside", "version", "lock", "missing"),
    [
        ("web-1.2.3.tgz", "^1.0.0", None, False),
        ("web-1.2.3.tgz", "v1.2.3", None, False),
        ("web.tgz", "^1.0.0", None, False),
        ("web.tgz", "1.2.4", None, False),
        ("web/Chart.yaml", "^1.0.0", None, False),
        ("web-1.2.3.tgz", "1.2.4", None, True),
        ("web-1.2.3.tgz", "^1.0.0", "1.3.0", True),
        ("web-1.2.3.tgz", "^1.0.0", "1.2.3", False),
        ("web-more-1.2.3.tgz", "^1.0.0", None, True),
        ("web/README.md", "^1.0.0", None, True),
    ],
)
def test_what_is_in_the_charts_folder_is_not_fetched(
    inside: str, version: str, lock: str | None, missing: bool, tmp_path: Path
) -> None:
    rows = None if lock is None else [on("web", SHOP["shop"], lock)]
    folder = chart(tmp_path / "all", on("web", "@shop", version), lock=rows)
    (folder / "charts" / inside).parent.mkdir(parents=True)
    (folder / "charts" / inside).touch()
    assert (read(folder, SHOP) is not None) is missing


def test_a_chart_in_a_folder_of_another_name_is_known_by_its_own(tmp_path: Path) -> None:
    """As of a vendored one whose folder has its version, too."""
    folder = chart(tmp_path / "all", on("web", "@shop"), on("more", ""))
    (folder / "charts").mkdir()
    chart(tmp_path / "web").rename(folder / "charts" / "web-1.2.3")
    chart(tmp_path / "more").rename(folder / "charts" / "third-party")
    assert read(folder, SHOP) is None


def test_a_folder_beside_it_is_always_built_from(tmp_path: Path) -> None:
    """Also where an archive of it exists: it may be of earlier content."""
    chart(tmp_path / "part", on("web", "@shop"))
    folder = chart(tmp_path / "all", on("part", "file://../part", "*"))
    (folder / "charts").mkdir()
    (folder / "charts" / "part-1.0.0.tgz").touch()
    assert remotes(read(folder, SHOP)) == [("shop/web", SHOP["shop"], "^1.0.0")]
    (tmp_path / "part").rename(tmp_path / "gone")
    assert read(folder, SHOP) is None


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (on("web", "@nope"), "no repository is named 'nope'; there are: shop"),
        (on("web", "stable"), "its repository is 'stable'"),
        (on("web", "s3://bucket"), "its repository is 's3://bucket'"),
        (on("web", "file://../gone"), "there is no chart in the folder {}/gone"),
        (on("web", ""), "it has no repository"),
        (on("all", "file://."), "in a cycle: {0}/all → {0}/all"),
    ],
)
def test_a_dependency_that_cannot_be_resolved_is_named(row: dict[str, str], why: str, tmp_path: Path) -> None:
    folder = chart(tmp_path / "all", row)
    with pytest.raises(BadInput) as caught:
        read(folder, SHOP)
    assert caught.value.what == f"the dependency '{row['name']}' of the chart {folder} cannot be resolved"
    assert why.format(tmp_path) in caught.value.why


@pytest.mark.parametrize(
    "lock", [[], [on("db", SHOP["shop"], "1.0.0")], [on("web", "https://x.example", "1.0.0")], [on("web", "@shop")] * 2]
)
def test_a_lock_of_other_dependencies_is_refused(lock: list[dict[str, str]], tmp_path: Path) -> None:
    folder = chart(tmp_path / "all", on("web", SHOP["shop"]), lock=lock)
    if not lock:
        assert remotes(read(folder, SHOP)), "an empty one is none"
        return
    with pytest.raises(BadInput, match="out of sync") as caught:
        read(folder, SHOP)
    assert caught.value.fix == f"helm dependency update {folder}"


def test_a_login_in_an_address_is_never_shown(tmp_path: Path) -> None:
    source = read(chart(tmp_path / "all", on("web", "https://user:s3cret-word@x.example/charts")), SHOP)
    ((reference, url, _version),) = remotes(source)
    assert (reference, url) == (f"https://{MASK}@x.example/charts/web", "https://user:s3cret-word@x.example/charts")
    assert redact("s3cret-word") == MASK


@pytest.mark.parametrize("text", ["{", "- a\n", "dependencies: 3\n", "dependencies: [3]\n", "dependencies:\n", "\x00"])
def test_what_cannot_be_read_is_left_to_helm(text: str, tmp_path: Path) -> None:
    folder = chart(tmp_path / "all")
    (folder / "Chart.yaml").write_text(text)
    assert read(folder, SHOP) is None


def packing(call: Call) -> Answer:
    """helm package: an archive that holds the names of all files."""
    folder, target = Path(call.command.argv[2]), Path(call.command.argv[-1])
    name = yaml.safe_load((folder / "Chart.yaml").read_text())["name"]
    found = sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())
    (target / f"{name}-1.0.0.tgz").write_text("\n".join(found))
    return Answer()


def building(folder: Path, **answers: Any) -> tuple[Facts, FakePrograms]:
    settings = given.settings(helm={"repositories": SHOP, "releases": []})
    facts, programs = of(folder, root=folder, settings=settings)
    programs.answers.update({"helm package": packing, "helm dependency list": LISTED, **answers})
    return facts, programs


def umbrella(folder: Path) -> None:
    """all → part (file) → web (repository), all → db (OCI)."""
    chart(folder / "part", on("web", "@shop", "1.0.0"))
    chart(folder / "all", on("part", "file://../part", "*"), on("db", "oci://r.example.com/charts", "2.0.0"))
    (folder / "all" / "charts").mkdir()
    (folder / "all" / "charts" / "part-0.9.0.tgz").write_text("old")


def content(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_a_copy_gets_what_is_missing(tmp_path: Path) -> None:
    umbrella(tmp_path)
    before = {name: content(tmp_path / name) for name in ("all", "part")}
    facts, programs = building(tmp_path)
    steps = planned(facts, release("./all"))
    assert list(steps) == [
        REPOSITORIES,
        "helm: fetch oci://r.example.com/charts/db 2.0.0",
        "helm: fetch shop/web 1.0.0",
        "helm: build ./all",
    ]
    build = steps.pop("helm: build ./all")
    assert build.needs == ("helm: fetch oci://r.example.com/charts/db 2.0.0", "helm: fetch shop/web 1.0.0")
    run(steps)
    given.act(build)
    copy = Path(chart_of(facts, release("./all")).archive(facts))
    assert tmp_path / "cache" in copy.parents
    assert sorted(content(copy)) == [
        "Chart.yaml",
        "charts/db-2.0.0.tgz",
        "charts/part-1.0.0.tgz",
        "templates/all.yaml",
    ]
    assert "charts/web-1.0.0.tgz" in (copy / "charts" / "part-1.0.0.tgz").read_text()
    assert {name: content(tmp_path / name) for name in ("all", "part")} == before
    assert [each.name for each in copy.parent.iterdir()] == [copy.name], "nothing half-made is left"
    assert len(programs.calls_of("helm package")) == 1


def built(folder: Path, **answers: Any) -> str:
    facts, _programs = building(folder, **answers)
    steps = planned(facts, release("./all"))
    build = steps.pop("helm: build ./all")
    run(steps)
    if build.skip is None:
        given.act(build)
    return f"{build.skip or 'built'} {chart_of(facts, release('./all')).identity}"


@pytest.mark.parametrize("changed", ["all/templates/all.yaml", "part/templates/new.yaml", "all/Chart.lock"])
def test_it_is_built_again_only_when_something_that_it_is_made_from_changes(changed: str, tmp_path: Path) -> None:
    umbrella(tmp_path)
    first = built(tmp_path)
    assert built(tmp_path) == first.replace("built ", "already built ", 1)
    (tmp_path / changed).write_text("# another\n")
    assert built(tmp_path).startswith("built ")


def test_a_range_without_a_lock_is_asked_for_again(tmp_path: Path) -> None:
    chart(tmp_path / "all", on("web", "@shop"))
    assert built(tmp_path).startswith("built ")
    assert built(tmp_path).startswith("built ")


def test_links_are_followed_and_what_helm_does_not_read_is_left_out(tmp_path: Path) -> None:
    umbrella(tmp_path)
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "shared.yaml").write_text("# one\n")
    (tmp_path / "all" / "shared").symlink_to("../common")
    (tmp_path / "all" / "again").symlink_to(".")
    (tmp_path / "all" / ".git").mkdir()
    (tmp_path / "all" / ".helmignore").write_text(".idea/\n*.swp\n")
    first = built(tmp_path)
    (tmp_path / "all" / ".git" / "HEAD").write_text("ref\n")
    (tmp_path / "all" / ".idea").mkdir()
    (tmp_path / "all" / ".idea" / "workspace.xml").write_text("<x/>\n")
    (tmp_path / "all" / ".values.yaml.swp").write_text("x")
    assert built(tmp_path).startswith("already built ")
    (tmp_path / "common" / "shared.yaml").write_text("# two\n")
    assert built(tmp_path).rpartition(" ")[0] != first.rpartition(" ")[0]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("helm pull shop/web", "the dependency 'web' of the chart ./all"),
        ("helm package", "the dependency 'part' of the chart {}/all"),
        ("helm repo update", "the dependency 'web' of the chart ./all"),
    ],
)
def test_an_error_tells_which_dependency_of_which_chart(broken: str, why: str, tmp_path: Path) -> None:
    umbrella(tmp_path)
    failed = Answer(code=1, out=f"Unable to get an update from {SHOP['shop']}", err="Error: it is broken")
    with pytest.raises(LaunchError) as caught:
        built(tmp_path, **{broken: failed})
    assert caught.value.why.startswith(why.format(tmp_path))


def test_a_repository_without_a_name_is_called_by_its_address(tmp_path: Path) -> None:
    chart(tmp_path / "all", on("web", "https://x.example"))

    def refused(call: Call) -> Answer:
        name = call.command.argv[2].split("/")[0]
        return Answer(code=1, err=f'Error: chart "web" matching ^1.0.0 not found in {name} index. (try ...)')

    with pytest.raises(LaunchError) as caught:
        built(tmp_path, **{"helm pull": refused})
    assert "the repository https://x.example does not list it" in caught.value.why


@pytest.mark.parametrize("state", ["wrong version", "missing", "misnamed", "corrupt"])
def test_a_dependency_that_does_not_fit_is_named(state: str) -> None:
    rows = f"web\t^1.0.0\t@shop     \tok     \ndb \t>=2   \tfile://../db\t{state}   \n\n"
    with pytest.raises(LaunchError, match=f"the dependency 'db' of the chart /c does not fit: {state}") as caught:
        check(LISTED + rows, Path("/c"))
    assert "db >=2 of file://../db" in caught.value.why
    check(LISTED + rows.replace(state, "too many matches"), Path("/c"))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chart(tmp_path / "all")
    facts, refused = building(tmp_path)[0], PermissionError(errno.EACCES, "Permission denied", "all.yaml")
    monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=refused))
    with pytest.raises(BadInput, match="cannot be read"):
        chart_of(facts, release("./all"))
