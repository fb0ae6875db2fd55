"""Releases in a cluster that is not this project's, and releases that somebody else may be at work on."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks import helm
from tasks.kube.ownership import CREATED_BY, Foreign
from tasks.run.releases import refuse_pending
from tests import given
from tests.given_live import FakeApi, Object, created, holding, manifest, named, obj, packed, reached, release, stored
from tests.programs import Answer, FakePrograms
from tests.test_helm import INSTALL, live, of


@pytest.mark.parametrize(
    ("labels", "verb"),
    [
        (None, "helm install web"),
        ({CREATED_BY: "me.dev"}, "helm upgrade web"),
        ({CREATED_BY: "me.dev", "status": "uninstalled"}, "helm install --replace web"),
        ({}, ""),
        ({CREATED_BY: "bob.dev"}, ""),
        ({CREATED_BY: "me.dev", "status": "pending-upgrade"}, ""),
    ],
)
def test_missing_ones_are_installed_and_own_upgraded(tmp_path: Path, labels: dict[str, str] | None, verb: str) -> None:
    """By what is there at that moment: somebody may have been faster."""
    programs = FakePrograms(answers={"helm": "{}"})
    facts = of(tmp_path, None, programs, engine="existing")
    reached(facts, FakeApi(*([] if labels is None else [stored(**labels)])))
    step = named(helm.steps(facts))[INSTALL]
    if not verb:
        with pytest.raises(Foreign, match="web/release/web"):
            given.act(step)
        assert programs.lines == []
        return
    given.act(step)
    assert programs.lines[-1].startswith(verb)
    labelled = f"{CREATED_BY}=me.dev" in programs.lines[-1]
    assert labelled is ("helm install" in programs.lines[-1]), "upgrades keep it (Helm: labels)"


@pytest.mark.parametrize(
    ("meta", "refused"),
    [
        ({"annotations": {"meta.helm.sh/release-name": "web"}, "managedFields": [{"manager": "kubectl-apply"}]}, False),
        ({"managedFields": [{"manager": "helm"}, {"manager": "controller"}]}, False),
        ({"annotations": {"meta.helm.sh/release-name": "other"}, "managedFields": [{"manager": "helm"}]}, True),
        ({"managedFields": [{"manager": "kubectl-create"}]}, True),
    ],
    ids=["restored by hand", "rewritten by a controller", "of another release", "recreated by others"],
)
def test_an_object_that_others_have_taken_over_is_not_changed(tmp_path: Path, meta: Object, refused: bool) -> None:
    part = obj("ConfigMap", "c", "web")
    programs = FakePrograms(answers={"helm": "{}"})
    facts = of(tmp_path, None, programs, engine="existing")
    installed = stored(manifest=manifest(part), **{CREATED_BY: "me.dev"})
    reached(facts, FakeApi(installed, obj("ConfigMap", "c", "web", metadata=meta)))
    step = named(helm.steps(facts))[INSTALL]
    if refused:
        with pytest.raises(Foreign, match="web/configmap/c is in the cluster"):
            given.act(step)
        assert programs.lines == []
    else:
        given.act(step)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, False),
        ({"clear_pending": True, "engine": "existing"}, False),
        ({"engine": "existing"}, True),
    ],
)
def test_a_pending_release_is_busy_without_the_lock(tmp_path: Path, changes: dict[str, Any], refused: bool) -> None:
    facts = of(tmp_path, live=live(release("1234", status="pending-install")), **changes)
    if refused:
        with pytest.raises(Foreign, match="release web in web: another Helm is working on it") as caught:
            refuse_pending(facts, ("helm",))
        assert "--clear-pending" in caught.value.fix
    else:
        refuse_pending(facts, ("helm",))
        assert "helm: clear web" in named(helm.steps(facts))
    refuse_pending(facts, ("manifests",))


def test_in_an_own_cluster_a_manual_upgrade_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Helm keeps a release's labels: that it was installed by this project says nothing of who is at work on it."""
    facts = of(tmp_path, live=live(release("1234", status="pending-upgrade", revision=2)))
    monkeypatch.setattr("tasks.facts.host.helm_at_work", lambda name: 4711 if name == "web" else None)
    with pytest.raises(Foreign, match="release web in web: another Helm is working on it"):
        refuse_pending(facts, ("helm",))


def test_in_a_cluster_of_ours_a_release_that_a_person_is_installing_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(Foreign, match="release web in web"):
        refuse_pending(of(tmp_path, live=live(release(status="pending-install"))), ("helm",))


def test_there_one_with_an_object_that_is_others_by_now_is_not_cleared(tmp_path: Path) -> None:
    part = obj("ConfigMap", "c", "web")
    programs = FakePrograms(answers={"helm": "{}"})
    pending = live(release("1234", status="pending-install"))
    facts = of(tmp_path, None, programs, engine="existing", clear_pending=True, live=pending)
    there = stored(manifest=manifest(part), status="pending-install", version="1", **{CREATED_BY: "me.dev"})
    theirs = obj("ConfigMap", "c", "web", metadata={"managedFields": [{"manager": "kubectl-create"}]})
    reached(facts, FakeApi(there, theirs))
    with pytest.raises(Foreign, match="web/configmap/c is in the cluster"):
        given.act(named(helm.steps(facts))["helm: clear web"])
    assert programs.lines == []


def test_there_one_whose_helm_has_gone_on_since_is_not_cleared(tmp_path: Path) -> None:
    programs = FakePrograms(answers={"helm": "{}"})
    pending = live(release("1234", status="pending-upgrade", revision=2))
    facts = of(tmp_path, None, programs, engine="existing", clear_pending=True, live=pending)
    step = named(helm.steps(facts))["helm: clear web"]
    api = reached(facts, FakeApi(stored(status="deployed", version="2")))
    assert given.act(step).skipped
    assert programs.lines == []
    api.put(stored(status="pending-upgrade", version="2"))
    given.act(step)
    assert programs.lines[0].startswith("helm rollback web")


HOOK = obj("Job", "migrate", "web")
OWN = {
    **stored(**{CREATED_BY: "me.dev"}),
    "data": {"release": packed("", hooks=[{"manifest": manifest(HOOK)}])},
}


def hooked(*events: str) -> str:
    nameless = {**HOOK, "metadata": {"generateName": "migrate-"}}  # each time another object: nobody's can be there
    return json.dumps({"manifest": "", "hooks": [{"manifest": manifest(HOOK, nameless), "events": list(events)}]})


@pytest.mark.parametrize(
    ("there", "events", "refused"),
    [
        ([HOOK], ["pre-install"], True),
        ([HOOK], ["test"], False),
        ([], ["pre-install"], False),
        ([HOOK, OWN], ["pre-install"], False),
    ],
    ids=["somebody's", "of a test", "not there", "of the release itself"],
)
def test_hooks_replace_no_foreign_object(tmp_path: Path, there: list[Object], events: list[str], refused: bool) -> None:
    """By default it deletes the existing object first, whoever created it."""
    programs = FakePrograms(answers={"helm": hooked(*events)})
    facts = of(tmp_path, None, programs, engine="existing")
    reached(facts, FakeApi(*there))
    step = named(helm.steps(facts))[INSTALL]
    if refused:
        with pytest.raises(Foreign, match="web/job/migrate"):
            given.act(step)
    else:
        given.act(step)
    assert ["--dry-run=server" in line for line in programs.lines] == [True] + [False] * (not refused)


@pytest.mark.parametrize(
    ("changes", "namespace", "refused"),
    [
        ({}, {}, True),
        ({"helm.sh/resource-policy": "keep"}, {}, False),
        ({"meta.helm.sh/release-name": None}, {}, False),
        ({}, None, False),
    ],
    ids=["of a release", "kept by its chart", "of no release: Helm refuses it", "in a namespace of ours"],
)
def test_there_no_release_is_taken_over_whose_record_is_elsewhere(
    tmp_path: Path, changes: dict[str, Any], namespace: dict[str, Any] | None, refused: bool
) -> None:
    """Helm takes over objects with the annotations of a release of this name (Flux: `storageNamespace`)."""
    notes = {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "web", **changes}
    meta = {"annotations": {name: text for name, text in notes.items() if text}}
    theirs = obj("ConfigMap", "c", "web", metadata=meta)
    wide = obj("CustomResourceDefinition", "r", metadata=meta)  # what is left of a release whose namespace was deleted
    space = obj("Namespace", "web") if namespace is not None else created(obj("Namespace", "web"))
    answer = json.dumps({"manifest": manifest(obj("ConfigMap", "c"), obj("CustomResourceDefinition", "r"))})
    programs = FakePrograms(answers={"helm": answer})
    facts = of(tmp_path, None, programs, engine="existing", live=live(objects=holding([space]).objects))
    reached(facts, FakeApi(theirs, wide))
    step = named(helm.steps(facts))[INSTALL]
    if refused:
        with pytest.raises(Foreign, match=r"^web/configmap/c is in") as caught:
            given.act(step)
        assert "Helm release web in web" in caught.value.why
    else:
        given.act(step)


@pytest.mark.parametrize("events", ["pre-install", "test"])
def test_there_a_chart_with_crds_of_its_own_is_looked_through_without_the_cluster(tmp_path: Path, events: str) -> None:
    """Against the cluster Helm renders no object of a kind that its crds/ folder is about to bring."""
    unknown = Answer(code=1, err='Error: no matches for kind "Gadget" in version "example.com/v1"')
    hook = {**HOOK, "metadata": {**HOOK["metadata"], "annotations": {"helm.sh/hook": events}}}
    programs = FakePrograms(answers={"helm install": [unknown, hooked()], "helm template": manifest(hook)})
    facts = of(tmp_path, None, programs, engine="existing")
    reached(facts, FakeApi(HOOK))
    step = named(helm.steps(facts))[INSTALL]
    if events == "test":
        given.act(step)
        return
    with pytest.raises(Foreign, match="web/job/migrate"):
        given.act(step)
