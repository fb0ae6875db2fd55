"""The user's own manifests."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.core.redact import redact
from tasks.facts.manifest_files import kustomizations, kustomized, user_objects
from tasks.kube.objects import FIELD_MANAGER, MANAGED_BY
from tasks.run import desired
from tasks.settings.derived import FINGERPRINT, PARTS
from tests import given
from tests.programs import Answer, FakePrograms

VALUES = {"IP": "127.0.0.1", "DOMAIN": "example.test"}
Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return put


def config_map(name: str, data: str = "{}") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {data}\n"


def names(objects: list[dict[str, Any]]) -> list[str]:
    return [each["metadata"]["name"] for each in objects]


def test_files_in_their_order_and_folders_by_name(tmp_path: Path, write: Write) -> None:
    for name in ("b.yaml", "a.yml", "c.json", "d.JSON", ".hidden.yaml", "notes.txt", "deep/e.yaml"):
        stem = Path(name).stem.strip(".")
        as_json = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": stem}})
        write(f"more/{name}", as_json if name.lower().endswith("json") else config_map(stem))
    write("z.yaml", config_map("z1") + "---\n---\n# none\n---\n" + config_map("z2"))
    found = user_objects(["z.yaml", "more", "more/a.yml", str(tmp_path / "z.yaml")], tmp_path, VALUES)
    assert names(found) == ["z1", "z2", "a", "b", "c", "d"]
    for each in found:
        assert each["metadata"]["labels"] == {MANAGED_BY: FIELD_MANAGER}
        assert FINGERPRINT in each["metadata"]["annotations"]
    assert found == user_objects(["z.yaml", "more"], tmp_path, VALUES)
    assert user_objects([], tmp_path, VALUES) == []


def test_lists_are_opened(tmp_path: Path, write: Write) -> None:
    inner = "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}}"
    write(
        "l.yaml",
        f"apiVersion: v1\nkind: List\nitems:\n- {inner % 'a'}\n- kind: ConfigMapList\n  items: [{inner % 'b'}]\n",
    )
    write("own.yaml", "apiVersion: example.com/v1\nkind: AllowList\nmetadata: {name: c}\nitems: [x]\n")
    write("api.yaml", "apiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: d}}]\n")  # as the API gives it
    found = user_objects(["l.yaml", "own.yaml", "api.yaml"], tmp_path, VALUES)
    assert names(found) == ["a", "b", "c", "d"]
    assert found[2]["items"] == ["x"]
    assert (found[3]["apiVersion"], found[3]["kind"]) == ("v1", "ConfigMap")


def test_placeholders_are_filled_in_texts_only(tmp_path: Path, write: Write) -> None:
    write("a.yaml", config_map("'x-${IP}'", "{host: 'a.${DOMAIN}', script: '$HOME ${OTHER} $(IP) $$', '${IP}': z}"))
    evil = {"IP": "1", "DOMAIN": 'x"\n  injected: true\n---\nkind: Evil'}
    (found,) = user_objects(["a.yaml"], tmp_path, evil)
    assert found["data"] == {"host": "a." + evil["DOMAIN"], "script": "$HOME ${OTHER} $(IP) $$", "${IP}": "z"}
    assert found["metadata"]["name"] == "x-1"


def test_what_the_server_wrote_into_an_exported_object_is_left_out(tmp_path: Path, write: Write) -> None:
    exported = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  uid: x\n  resourceVersion: '1'\n  generation: 2\n"
        "  creationTimestamp: null\n  managedFields: [{manager: kubectl}]\n  labels: {app: x}\n"
    )
    write("a.yaml", exported)
    write("b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {app: x}\n")
    (found,) = user_objects(["a.yaml"], tmp_path, VALUES)
    assert [found] == user_objects(["b.yaml"], tmp_path, VALUES)


@pytest.mark.parametrize(
    ("bundle", "stays"), [("Cg==", False), ("", False), ("LS0t" * 100, True)], ids=["a line end", "nothing", "a bundle"]
)
def test_placeholders_of_a_controller_are_left_out(tmp_path: Path, write: Write, bundle: str, stays: bool) -> None:
    webhooks = f"[{{name: w.example.com, clientConfig: {{url: 'https://w', caBundle: '{bundle}'}}}}]"
    kind = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\n"
    other = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\nspec: {caBundle: Cg==}\n"
    write("hook.yaml", f"{kind}metadata: {{name: w}}\nwebhooks: {webhooks}\n---\n{other}")
    hook, thing = user_objects(["hook.yaml"], tmp_path, VALUES)
    assert ("caBundle" in hook["webhooks"][0]["clientConfig"]) is stays
    assert thing["spec"] == {"caBundle": "Cg=="}


def test_another_manager_is_respected(tmp_path: Path, write: Write) -> None:
    write("a.yaml", f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, labels: {{{MANAGED_BY}: me}}}}\n")
    (found,) = user_objects(["a.yaml"], tmp_path, VALUES)
    assert found["metadata"]["labels"] == {MANAGED_BY: "me"}
    assert FINGERPRINT in found["metadata"]["annotations"]


def test_values_of_a_secret_are_masked_but_for_short_ones(tmp_path: Path, write: Write) -> None:
    write(
        "s.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: user-hunter-2-text, u: admin}\n"
        "data: {q: dXNlci1odW50ZXItMi1kYXRh}\n",
    )
    (found,) = user_objects(["s.yaml"], tmp_path, VALUES)
    assert FINGERPRINT not in found["metadata"].get("annotations", {})
    assert redact("user-hunter-2-text user-hunter-2-data dXNlci1odW50ZXItMi1kYXRh admin") == "*** *** *** admin"


def test_an_object_that_two_files_hold_equally_comes_once(tmp_path: Path, write: Write) -> None:
    write("a.yaml", config_map("same", "{a: x, b: y2}") + "---\n" + config_map("a"))
    write("b.json", json.dumps({**CONFIG_MAP, "data": {"b": "y2", "a": "x"}}))
    write("c.yaml", config_map("c") + "---\n" + config_map("same", "{b: 'y2', a: x}"))
    assert names(user_objects(["a.yaml", "b.json", "c.yaml"], tmp_path, VALUES)) == ["same", "a", "c"]


CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "same"}}


@pytest.mark.parametrize(
    "other",
    [
        {"metadata": {"name": "same", "namespace": "default"}},
        {"metadata": {"name": "same", "labels": None, "creationTimestamp": None}},
        {"status": {"conditions": []}},
        {"data": None},
    ],
)
def test_so_does_one_that_says_the_same_in_other_words(tmp_path: Path, write: Write, other: dict[str, Any]) -> None:
    write("a.json", json.dumps(CONFIG_MAP))
    write("b.json", json.dumps({**CONFIG_MAP, **other}))
    for order in (["a.json", "b.json"], ["b.json", "a.json"]):
        assert names(user_objects(order, tmp_path, VALUES)) == ["same"]


def test_an_object_that_two_files_hold_differently_is_refused_with_both_places(tmp_path: Path, write: Write) -> None:
    write("a.yaml", config_map("same"))
    write("b.yaml", config_map("other") + "---\n" + config_map("same", "{a: x}"))
    with pytest.raises(BadInput) as error:
        user_objects(["a.yaml", "b.yaml"], tmp_path, VALUES)
    assert "b.yaml, document 2 (line 6)" in error.value.what
    assert "a.yaml, document 1 (line 1)" in error.value.why
    assert "'same'" in error.value.why
    write("b.yaml", config_map("same", "{a: x}").replace("{name", "{namespace: other, name"))
    assert len(user_objects(["a.yaml", "b.yaml"], tmp_path, VALUES)) == 2


META = "metadata: {name: a}"


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("just text", "document 1 (line 1)", "a str, not an object"),
        (f"a: 1\n---\n- {META}", "document 1 (line 1)", "no apiVersion"),
        (config_map("a") + "---\n- 1\n", "document 2 (line 6)", "a list, not an object"),
        (f"apiVersion: v1\n{META}", "document 1 (line 1)", "no kind"),
        (f"apiVersion: 1\nkind: A\n{META}", "document 1 (line 1)", "no apiVersion"),
        ("apiVersion: v1\nkind: A", "document 1 (line 1)", "no metadata"),
        ("apiVersion: v1\nkind: A\nmetadata: {}", "document 1 (line 1)", "no metadata.name"),
        ("apiVersion: v1\nkind: A\nmetadata: {generateName: a-}", "document 1 (line 1)", "at every run"),
        ("apiVersion: v1\nkind: A\nmetadata: {name: 1}", "document 1 (line 1)", "no metadata.name"),
        ("apiVersion: v1\nkind: A\nmetadata: {name: a, namespace: [x]}", "document 1 (line 1)", "namespace"),
        ("apiVersion: v1\nkind: A\nmetadata: {name: a, labels: {on: true}}", "document 1 (line 1)", "metadata.labels"),
        ("apiVersion: v1\nkind: A\nmetadata: {name: a, annotations: [x]}", "document 1 (line 1)", "annotations"),
        ("kind: List\nitems:\n- {}\n", "document 1 (line 1), item 1", "no apiVersion"),
        ("a: 1\nb: c: d", "document 1: line 2", "not allowed"),
    ],
)
def test_errors_name_file_document_and_line(tmp_path: Path, write: Write, text: str, place: str, why: str) -> None:
    write("sub/bad.yaml", text)
    with pytest.raises(BadInput) as error:
        user_objects(["sub"], tmp_path, VALUES)
    assert "sub/bad.yaml" in error.value.what
    assert place in error.value.what
    assert why in error.value.why


@pytest.mark.parametrize("name", ["kustomization.yaml", "kustomization.yml", "Kustomization"])
def test_a_folder_with_a_kustomization_is_rendered_and_not_looked_into(tmp_path: Path, write: Write, name: str) -> None:
    write(f"k/{name}", "resources: [part.yaml]\n")
    write("k/part.yaml", config_map("part"))
    files = ["k", f"k/{name}", "k/part.yaml"]
    folder = tmp_path / "k"
    assert kustomizations(files, tmp_path) == (folder,)
    found = user_objects(files, tmp_path, VALUES, {folder: config_map("made", "{a: '${IP}'}")})
    assert names(found) == ["made", "part"]
    assert found[0]["data"] == {"a": "127.0.0.1"}
    with pytest.raises(BadInput, match=r"k \(by kubectl kustomize\), document 1"):
        user_objects(["k"], tmp_path, VALUES, {folder: "- 1"})


def test_a_pattern_names_files_and_an_address_none(tmp_path: Path, write: Write) -> None:
    for name in ("k8s/b.yaml", "k8s/a.yaml", "k8s/deep/c.yaml", "[odd]/d.yaml"):
        write(name, config_map(Path(name).stem))
    assert names(user_objects(["k8s/*.yaml"], tmp_path, VALUES)) == ["a", "b"]
    assert names(user_objects([f"{tmp_path}/k8s/**/*.yaml"], tmp_path, VALUES)) == ["a", "b", "c"]
    assert names(user_objects(["[odd]/d.yaml"], tmp_path, VALUES)) == ["d"]
    with pytest.raises(BadInput, match="no file matches"):
        user_objects(["k8s/*.yml"], tmp_path, VALUES)
    with pytest.raises(BadInput, match="is not a file") as error:
        user_objects(["https://example.com/all.yaml"], tmp_path, VALUES)
    assert "download it" in error.value.fix


def test_a_missing_file_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere\.yaml") as error:
        user_objects(["nowhere.yaml"], tmp_path, VALUES)
    assert "manifests.files" in error.value.why
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="contains no manifests"):
        user_objects(["empty"], tmp_path, VALUES)


OBJECT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: made}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "overlay"
    found.mkdir()
    (found / "kustomization.yaml").write_text("resources: [../base]\n")
    return found


def test_what_kubectl_renders_is_the_users_own(tmp_path: Path, folder: Path) -> None:
    programs = FakePrograms(answers={f"kubectl kustomize {folder}": OBJECT})
    settings = given.settings(manifests={"files": [str(folder)]})
    rendered = kustomized(settings, given.ROOT, programs, PARTS)
    facts = given.facts(tmp_path, programs, settings=settings, rendered=rendered)
    assert [each["metadata"]["name"] for each in desired.user_objects(facts)] == ["made"]
    assert kustomized(settings, given.ROOT, programs, ("prepull",)) == {}


def test_what_kubectl_cannot_render_names_the_folder_and_its_reason(folder: Path) -> None:
    programs = FakePrograms(otherwise=Answer(code=1, out="secret", err="error: accumulating resources: no base\n"))
    with pytest.raises(BadInput, match="overlay") as caught:
        kustomized(given.settings(manifests={"files": [str(folder)]}), given.ROOT, programs, PARTS)
    assert "accumulating resources: no base" in caught.value.why
    assert f"kubectl kustomize {folder}" in caught.value.fix
