"""Where charts come from: fetched once, from the repositories that are used, off the user's own Helm files."""

import io
import os
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.clients import helm
from tasks.core.errors import BadInput, LaunchError
from tasks.engine.step import Step
from tasks.facts.facts import Facts
from tasks.process.command import Completed, DeadlinePassed
from tasks.run.charts import REPOSITORIES, Chart, chart_of, fetch_steps
from tasks.settings.schema import Release
from tests import given
from tests.given_live import named
from tests.programs import Answer, Call, FakePrograms, tarred

SETTINGS = given.settings(
    helm={"repositories": {"one": "https://one.example.com", "two": "https://two.example.com/charts"}, "releases": []}
)


def pulling(request: Call) -> Answer:
    """helm pull: an archive named for the chart and its version."""
    argv = request.command.argv
    version = argv[argv.index("--version") + 1] if "--version" in argv else "9.9.9"
    folder = Path(argv[argv.index("--destination") + 1])
    archived(folder / f"{argv[2].rsplit('/', 1)[-1]}-{version}.tgz", request.line)
    return Answer()


def archived(path: Path, text: str) -> None:
    """An archive of a chart whose Chart.yaml is this text."""
    path.write_bytes(tarred({"app/Chart.yaml": text}, "w:gz"))


def chart_text(path: str) -> str:
    """That text."""
    with tarfile.open(path) as archive, archive.extractfile("app/Chart.yaml") or io.BytesIO() as file:
        return file.read().decode()


def of(folder: Path, **changes: Any) -> tuple[Facts, FakePrograms]:
    """Facts with two repositories and a separate Helm folder."""
    programs = FakePrograms(answers={"helm pull": pulling, "helm repo update": ""}, env={"HOME": str(folder)})
    result = given.facts(folder, programs, **{"settings": SETTINGS, **changes})
    place = result.paths.repositories(result.settings.helm.repositories)
    return replace(result, helm_programs=programs.with_env(helm.environment(folder / "cache", place))), programs


def listed(facts: Facts) -> list[dict[str, str]]:
    """The file of repositories that Helm is given."""
    found: list[dict[str, str]] = yaml.safe_load(Path(facts.helm_programs.env["HELM_REPOSITORY_CONFIG"]).read_text())[
        "repositories"
    ]
    return found


def release(chart: str, version: str | None = None, **more: Any) -> Release:
    return Release(name="web", namespace="web", chart=chart, version=version, **more)


def planned(facts: Facts, *releases: Release, wanted: bool = True) -> dict[str, Step]:
    charts = tuple(chart_of(facts, each) for each in releases)
    return named(fetch_steps(facts, charts, frozenset(each.id for each in charts) if wanted else frozenset()))


def run(steps: dict[str, Step]) -> None:
    for step in steps.values():
        if step.skip is None:
            given.act(step)


@pytest.mark.parametrize(
    ("chart", "version", "display", "repository", "identity"),
    [
        ("one/app", "1.2.3", "one/app 1.2.3", "one", "https://one.example.com app 1.2.3"),
        ("one/app", None, "one/app", "one", "https://one.example.com app newest"),
        ("oci://ghcr.io/o/app", "1.0.0", "oci://ghcr.io/o/app 1.0.0", None, "oci://ghcr.io/o/app 1.0.0"),
    ],
)
def test_a_chart_is_known_by_where_it_comes_from(
    tmp_path: Path, chart: str, version: str | None, display: str, repository: str | None, identity: str
) -> None:
    found = chart_of(of(tmp_path)[0], release(chart, version))
    assert (found.display, found.repository, found.identity) == (display, repository, identity)
    assert found.step == f"helm: fetch {display}"


def test_the_same_name_in_another_repository_is_another_chart(tmp_path: Path) -> None:
    ids = {
        chart_of(of(tmp_path)[0], release(chart, version)).id
        for chart in ("one/app", "two/app", "oci://one/app")
        for version in (None, "1.0.0", "1.0.1")
    }
    assert len(ids) == 9


def local(folder: Path) -> Path:
    chart = folder / "project" / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("name: app\n")
    (chart / "templates" / "all.yaml").write_text("kind: ConfigMap\n")
    return chart


def test_a_chart_on_this_machine_changes_with_its_files(tmp_path: Path) -> None:
    chart = local(tmp_path)
    facts, _programs = of(tmp_path, root=tmp_path / "project")
    seen = [chart_of(facts, release("./chart")).identity]
    (chart / "templates" / "all.yaml").write_text("kind: Secret\n")
    seen.append(chart_of(facts, release("./chart")).identity)
    (chart / "templates" / "all.yaml").rename(chart / "templates" / "some.yaml")
    seen.append(chart_of(facts, release("./chart")).identity)
    assert len(set(seen)) == 3
    assert chart_of(facts, release(str(chart))).path == chart


def test_a_chart_on_this_machine_is_used_where_it_is(tmp_path: Path) -> None:
    chart = local(tmp_path)
    facts, programs = of(tmp_path, root=tmp_path / "project")
    assert planned(facts, release("./chart")) == {}
    assert chart_of(facts, release("./chart")).archive(facts) == str(chart)
    archive = tmp_path / "project" / "app.tgz"
    archive.write_bytes(b"\x1f\x8b one")
    before = chart_of(facts, release("./app.tgz")).identity
    archive.write_bytes(b"\x1f\x8b two")
    assert chart_of(facts, release("./app.tgz")).identity != before
    assert programs.calls == []


def test_a_path_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        chart_of(of(tmp_path)[0], release(str(tmp_path)))  # a folder without Chart.yaml
    with pytest.raises(BadInput, match="the chart of release 'web' does not exist") as caught:
        chart_of(of(tmp_path)[0], release("./charts/web"))
    assert "./charts/web" in caught.value.why


def test_only_repositories_of_charts_that_must_come_are_updated(tmp_path: Path) -> None:
    facts, programs = of(tmp_path)
    run(planned(facts, release("one/app", "1.0.0"), release("oci://ghcr.io/o/app", "1.0.0")))
    assert programs.lines[0] == "helm repo update one"
    assert listed(facts) == [{"name": "one", "url": "https://one.example.com"}]


def test_a_chart_is_fetched_after_its_repository_and_an_image_of_a_registry_at_once(tmp_path: Path) -> None:
    steps = planned(of(tmp_path)[0], release("one/app", "1.0.0"), release("oci://ghcr.io/o/app", "1.0.0"))
    assert steps["helm: fetch one/app 1.0.0"].needs == (REPOSITORIES,)
    assert steps["helm: fetch oci://ghcr.io/o/app 1.0.0"].needs == ()
    assert {step.kind for step in steps.values()} == {
        None
    }  # they are small: no image that is fetched keeps them waiting
    assert all(step.retry.attempts > 1 for step in steps.values())


def test_an_archive_is_kept_and_used_again(tmp_path: Path) -> None:
    facts, programs = of(tmp_path)
    run(planned(facts, release("one/app", "1.0.0")))
    assert [line.split(" --destination")[0] for line in programs.lines] == [
        "helm repo update one",
        "helm pull one/app --version 1.0.0",
    ]
    archive = chart_of(facts, release("one/app", "1.0.0")).archive(facts)
    assert Path(archive).name == "app-1.0.0.tgz"
    assert tmp_path / "cache" in Path(archive).parents
    assert [each.name for each in Path(archive).parent.iterdir()] == ["app-1.0.0.tgz"], "nothing half-written is left"

    later, programs = of(tmp_path)
    steps = planned(later, release("one/app", "1.0.0"))
    assert [step.skip for step in steps.values()] == ["no chart has to be fetched from them", "already fetched"]
    assert chart_of(later, release("one/app", "1.0.0")).archive(later) == archive


RANGES = (None, "1.0", "^1.0.0", ">=1.0.0", "1.x")


@pytest.mark.parametrize("version", [*RANGES, "1.0.0", "v1.17.4", "1.0.0-rc.1", "1.2.3+build.4"])
def test_an_exact_version_is_fetched_once_and_others_are_asked_for_again(tmp_path: Path, version: str | None) -> None:
    run(planned(of(tmp_path)[0], release("one/app", version)))
    again = planned(of(tmp_path)[0], release("one/app", version)).values()
    assert {step.skip is None for step in again} == {version in RANGES}


def test_where_no_release_changes_nothing_is_fetched(tmp_path: Path) -> None:
    steps = planned(of(tmp_path)[0], release("one/app"), wanted=False)
    assert [step.skip for step in steps.values()] == [
        "no chart has to be fetched from them",
        "its releases need no change",
    ]


def test_the_users_own_helm_files_are_never_touched(tmp_path: Path) -> None:
    facts, programs = of(tmp_path)
    run(planned(facts, release("one/app", "1.0.0"), release("oci://ghcr.io/o/app", "1.0.0")))
    for call in programs.calls:
        places = {name: value for name, value in call.env.items() if name.startswith("HELM_") and value}
        assert len(places) == 7
        assert all(Path(value).is_relative_to(tmp_path / "cache") for value in places.values()), places
    assert {each.name for each in tmp_path.iterdir()} == {"cache"}


def indexed(request: Call) -> Answer:
    """helm repo update: an index by the repository's name, which holds its address."""
    for row in yaml.safe_load(Path(request.env["HELM_REPOSITORY_CONFIG"]).read_text())["repositories"]:
        Path(request.env["HELM_REPOSITORY_CACHE"], f"{row['name']}-index.yaml").write_text(row["url"])
    return Answer()


def by_index(request: Call) -> Answer:
    """helm pull: an archive that holds what the index of its repository says."""
    name = request.command.argv[2].split("/")[0]
    archive = Path(request.command.argv[-1], "app-1.0.0.tgz")
    archived(archive, Path(request.env["HELM_REPOSITORY_CACHE"], f"{name}-index.yaml").read_text())
    return Answer()


@pytest.mark.parametrize("cluster", ["openframe-dev", "another"])
def test_one_name_with_another_address_is_another_index(cluster: str, tmp_path: Path) -> None:
    """Two launches at the same time: both have updated before one of them fetches."""
    steps, charts = [], []
    for name, url in (("openframe-dev", "https://old.example.com"), (cluster, "https://new.example.com")):
        settings = given.settings(
            cluster={"name": name}, helm={"repositories": {"one": url}, "releases": [], "plain_http": []}
        )
        facts, programs = of(tmp_path, settings=settings)
        programs.answers.update({"helm repo update": indexed, "helm pull": by_index})
        steps.append(planned(facts, release("one/app", "1.0.0")))
        charts.append((chart_of(facts, release("one/app", "1.0.0")), facts))
    for name in (REPOSITORIES, "helm: fetch one/app 1.0.0"):
        for each in steps:
            given.act(each[name])
    assert [chart_text(chart.archive(facts)) for chart, facts in charts] == [
        "https://old.example.com",
        "https://new.example.com",
    ]


def test_indexes_that_nobody_uses_any_more_are_removed(tmp_path: Path) -> None:
    facts, _programs = of(tmp_path)
    old, recent = (tmp_path / "cache" / "repositories" / name for name in ("0123", "4567"))
    for each, age in ((old, 31), (recent, 1)):
        each.mkdir(parents=True)
        os.utime(each, (time.time() - age * 86400,) * 2)
    run(planned(facts, release("one/app", "1.0.0")))
    assert (old.exists(), recent.exists()) == (False, True)


def test_a_pull_that_brings_nothing_is_told(tmp_path: Path) -> None:
    facts, programs = of(tmp_path)
    programs.answers["helm pull"] = ""
    step = planned(facts, release("one/app", "1.0.0"))["helm: fetch one/app 1.0.0"]
    with pytest.raises(LaunchError, match="left no archive"):
        given.act(step)


@pytest.mark.parametrize("half", [False, True], ids=["a page for logins", "half of it"])
def test_what_a_repository_sends_in_place_of_a_chart_is_not_kept(half: bool, tmp_path: Path) -> None:
    """Helm writes it and succeeds: cached, it would fail each launch."""

    def sends(request: Call) -> Answer:
        archive = Path(request.command.argv[-1], "app-1.0.0.tgz")
        archived(archive, "name: app")
        archive.write_bytes(archive.read_bytes()[:60] if half else b"<html>\nPlease log in</html>")
        return Answer()

    facts, programs = of(tmp_path)
    programs.answers["helm pull"] = sends
    step = planned(facts, release("one/app", "1.0.0"))["helm: fetch one/app 1.0.0"]
    with pytest.raises(LaunchError, match="left no archive of a chart") as caught:
        given.act(step)
    assert caught.value.transient
    assert ("a web page" in caught.value.why) is not half
    assert chart_of(facts, release("one/app", "1.0.0")).cached(facts) is None


def test_a_chart_that_was_never_fetched_cannot_be_installed(tmp_path: Path) -> None:
    chart = Chart(reference="one/app", version="1.0.0", url="https://one.example.com", identity="x")
    with pytest.raises(LaunchError, match="has not been fetched"):
        chart.archive(of(tmp_path)[0])


def test_a_repository_that_hangs_is_named(tmp_path: Path) -> None:
    def hangs(request: Call) -> Answer:
        out = '...Successfully got an update from the "one" chart repository\n'
        raise DeadlinePassed(Completed(command=request.command, code=-15, out=out, err="", seconds=6.0), 6.0)

    facts, programs = of(tmp_path)
    programs.answers["helm repo update"] = hangs
    update = planned(facts, release("one/app", "1.0.0"), release("two/app", "1.0.0"))[REPOSITORIES]
    with pytest.raises(LaunchError) as caught:
        given.act(update)
    assert caught.value.what.endswith("from the chart repository two (https://two.example.com/charts)")
    assert "timeouts.pull" in caught.value.fix
    assert not caught.value.transient
