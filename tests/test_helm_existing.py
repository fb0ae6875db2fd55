"""Releases in a cluster that is not this project's, and releases that somebody else may be at work on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks import helm
from tasks.objects.ownership import CREATED_BY, Foreign
from tests import given
from tests.given_live import FakeApi, named, reached, release, stored
from tests.programs import FakePrograms
from tests.test_helm import INSTALL, live, of


@pytest.mark.parametrize(
    ("labels", "verb"),
    [
        (None, "helm install web"),
        ({CREATED_BY: "me.dev"}, "helm upgrade web"),
        ({}, ""),
        ({CREATED_BY: "bob.dev"}, ""),
        ({CREATED_BY: "me.dev", "status": "pending-upgrade"}, ""),
    ],
)
def test_there_what_is_absent_is_installed_and_only_what_we_installed_is_upgraded(
    tmp_path: Path, labels: dict[str, str] | None, verb: str
) -> None:
    """By what is there at that moment: somebody may have been faster."""
    programs = FakePrograms(answers={"helm": "{}"})
    situation = of(tmp_path, None, programs, engine="existing")
    reached(situation, FakeApi(*([] if labels is None else [stored(**labels)])))
    step = named(helm.steps(situation))[INSTALL]
    if not verb:
        with pytest.raises(Foreign, match="web/release/web"):
            given.act(step)
        assert programs.lines == []
        return
    given.act(step)
    assert programs.lines[0].startswith(verb)
    assert (f"{CREATED_BY}=me.dev" in programs.lines[0]) is (labels is None), "upgrades keep it (Helm: labels)"


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, False),
        ({"clear_pending": True, "engine": "existing"}, False),
        ({"engine": "existing"}, True),
    ],
)
def test_a_pending_release_of_ours_is_somebodys_only_where_the_lock_says_nothing(
    tmp_path: Path, changes: dict[str, Any], refused: bool
) -> None:
    situation = of(tmp_path, live=live(release("1234", status="pending-install")), **changes)
    if refused:
        with pytest.raises(Foreign, match="release web in web: somebody's Helm is at work") as caught:
            helm.refuse_pending(situation, ("helm",))
        assert "--clear-pending" in caught.value.fix
    else:
        helm.refuse_pending(situation, ("helm",))
        assert "helm: clear web" in named(helm.steps(situation))
    helm.refuse_pending(situation, ("manifests",))


def test_in_a_cluster_of_ours_a_release_that_a_person_is_installing_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(Foreign, match="release web in web"):
        helm.refuse_pending(of(tmp_path, live=live(release(status="pending-install"))), ("helm",))


def test_there_one_whose_helm_has_gone_on_since_is_not_cleared(tmp_path: Path) -> None:
    programs = FakePrograms(answers={"helm": "{}"})
    pending = live(release("1234", status="pending-upgrade", revision=2))
    situation = of(tmp_path, None, programs, engine="existing", clear_pending=True, live=pending)
    step = named(helm.steps(situation))["helm: clear web"]
    api = reached(situation, FakeApi(stored(status="deployed", version="2")))
    assert given.act(step).skipped
    assert programs.lines == []
    api.put(stored(status="pending-upgrade", version="2"))
    given.act(step)
    assert programs.lines[0].startswith("helm rollback web")
