"""Objects that a launch applies: what is configured, namespaces by name, base resources from the templates."""

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.kube.objects import FIELD_MANAGER, MANAGED_BY, finish, key
from tasks.run import desired
from tasks.settings.derived import FINGERPRINT
from tasks.settings.schema import Settings
from tests import given
from tests.given_live import obj

SECRET = finish(obj("Secret", "s", "one", type="Opaque", data={}))
ROOT = Path(__file__).parents[2]
TWELVE = tuple(f"ns-{number}" for number in range(12))


@pytest.mark.parametrize(
    ("parts", "kinds"),
    [
        ((), {"Namespace"}),
        (("helm", "health"), {"Namespace"}),
        (("secrets",), {"Namespace", "Secret"}),
        (
            ("manifests",),
            {"Namespace", "ConfigMap", "StorageClass", "LimitRange", "ResourceQuota", "NetworkPolicy", "Pod"},
        ),
    ],
)
def test_each_part_asks_for_what_it_puts_in(tmp_path: Path, parts: Collection[str], kinds: set[str]) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("{apiVersion: v1, kind: Pod, metadata: {name: p}}")
    settings = given.settings(namespaces=["one"], manifests={"files": [str(own)]})
    keys = desired.desired_keys(given.facts(tmp_path, settings=settings, secrets=(SECRET,)), parts)
    assert {key.kind for key in keys} == kinds
    assert len(keys) == len(set(keys))


def test_twelve_namespaces_in_their_order_each_once() -> None:
    names = [f"ns-{number}" for number in range(12)]
    found = desired.namespace_objects([*names, "ns-3", "ns-0"])
    assert [each["metadata"]["name"] for each in found] == names
    assert len({each["metadata"]["annotations"][FINGERPRINT] for each in found}) == 12
    for each in found:
        assert (each["apiVersion"], each["kind"]) == ("v1", "Namespace")
        assert each["metadata"]["labels"] == {MANAGED_BY: FIELD_MANAGER}
    assert found == desired.namespace_objects(names)
    assert desired.namespace_objects([]) == []


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a.b", "a" * 64, "a: b", "ä", "${IP}"])
def test_odd_names_are_refused_by_name(name: str) -> None:
    with pytest.raises(BadInput) as error:
        desired.namespace_objects(["good", name])
    assert f"'{name}'" in error.value.what
    assert "NAMESPACES" in error.value.fix


def desired_objects(
    managed: tuple[str, ...] = ("platform", "client-tools"),
    root: Path = ROOT,
    nodes: tuple[str, ...] | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    return desired.base_resources(Settings.model_validate(settings), root, managed=managed, nodes=nodes)


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(each for each in objects if each["kind"] == kind)


def peers(policy: dict[str, Any]) -> list[dict[str, Any]]:
    (rule,) = policy["spec"]["ingress"]
    assert set(rule) == {"from"}
    found: list[dict[str, Any]] = rule["from"]
    return found


def test_every_object_is_there_once_and_is_ours() -> None:
    found = desired_objects(TWELVE)
    assert len({key(each) for each in found}) == len(found) == 2 + 3 * 12
    for each in found:
        assert each["metadata"]["labels"][MANAGED_BY] == FIELD_MANAGER
        assert FINGERPRINT in each["metadata"]["annotations"]
    for kind in ("NetworkPolicy", "ResourceQuota", "LimitRange"):
        assert tuple(each["metadata"]["namespace"] for each in found if each["kind"] == kind) == TWELVE
    assert found == desired_objects(TWELVE) == desired_objects((*TWELVE, "ns-3"))


def test_what_is_switched_off_is_left_out() -> None:
    off = {"storage_class": False, "network_policies": False, "node_local_dns": False, "quota": {"enabled": False}}
    assert desired_objects(manifests=off) == []
    for name, kinds in {
        "storage_class": {"StorageClass"},
        "network_policies": {"NetworkPolicy"},
        "node_local_dns": {"ConfigMap"},
        "quota": {"ResourceQuota", "LimitRange"},
    }.items():
        on = {"enabled": True} if name == "quota" else True
        assert {each["kind"] for each in desired_objects(manifests={**off, name: on})} == kinds
    assert {each["kind"] for each in desired_objects(managed=())} == {"StorageClass", "ConfigMap"}


def test_the_storage_class_stands_beside_k3s_own() -> None:
    found = one(desired_objects(), "StorageClass")
    assert found["metadata"]["name"] == "openframe-local"
    assert found["provisioner"] == "rancher.io/local-path"
    assert found["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "false"


def test_the_quota_bounds_requests_and_pods_and_a_default_request_is_given() -> None:
    quota = {"requests_cpu": "4", "requests_memory": "8Gi", "pods": 7, "default_cpu": "5m", "default_memory": "16Mi"}
    found = desired_objects(manifests={"quota": quota})
    hard = {"requests.cpu": "4", "requests.memory": "8Gi", "pods": "7"}
    assert one(found, "ResourceQuota")["spec"] == {"hard": hard}
    limits = [{"type": "Container", "defaultRequest": {"cpu": "5m", "memory": "16Mi"}}]
    assert one(found, "LimitRange")["spec"] == {"limits": limits}


@pytest.mark.parametrize("text", ["", "lots", "-1", "8\nevil: true"])
def test_a_quota_that_is_no_quantity_is_told_by_its_setting(text: str) -> None:
    with pytest.raises(BadInput, match=r"manifests\.quota\.requests_cpu"):
        desired_objects(manifests={"quota": {"requests_cpu": text}})
    assert desired_objects(manifests={"quota": {"requests_cpu": text, "enabled": False}})


def test_the_policy_lets_in_managed_namespaces_system_and_nodes_and_leaves_egress_free() -> None:
    policy = one(desired_objects(), "NetworkPolicy")
    assert policy["spec"]["podSelector"] == {}
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert "egress" not in policy["spec"]
    own, managed, system, *nodes = peers(policy)
    assert own == {"podSelector": {}}, "the namespace's own pods, whatever its labels"
    assert managed == {"namespaceSelector": {"matchLabels": {MANAGED_BY: FIELD_MANAGER}}}
    assert system == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
    assert {"ipBlock": {"cidr": "10.42.0.0/31"}} in nodes
    assert all(list(peer) == ["ipBlock"] for peer in nodes)


def test_the_namespace_of_the_ingress_is_let_in() -> None:
    release = {"name": "web", "namespace": "edge", "chart": "ingress-nginx/ingress-nginx"}
    assert desired.ingress_namespace(Settings()) == "kube-system"
    found = desired_objects(ingress={"controller": "ingress-nginx"}, helm={"releases": [release]})
    names = [
        peer["namespaceSelector"]["matchLabels"].get("kubernetes.io/metadata.name")
        for peer in peers(one(found, "NetworkPolicy"))
        if "namespaceSelector" in peer
    ]
    assert names == [None, "edge", "kube-system"]
    without = Settings.model_validate({"ingress": {"controller": "ingress-nginx"}, "helm": {"releases": []}})
    assert desired.ingress_namespace(without) == "ingress-nginx"


def test_nodes_that_are_known_are_taken_as_they_are() -> None:
    found = peers(one(desired_objects(nodes=("10.0.0.1/32",)), "NetworkPolicy"))
    assert [peer["ipBlock"]["cidr"] for peer in found if "ipBlock" in peer] == ["10.0.0.1/32"]
    assert len(peers(one(desired_objects(nodes=()), "NetworkPolicy"))) == 3


def test_outside_the_managed_namespaces_nothing_is_made_where_the_cluster_is_not_ours(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "files", tmp_path / "files")
    with (tmp_path / desired.POLICIES).open("a") as file:
        file.write("---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: m, namespace: kube-system}}\n")
    found = desired.base_resources(Settings(), tmp_path, managed=("platform",), whole_cluster=False)
    assert {each["kind"] for each in found} == {"NetworkPolicy", "ResourceQuota", "LimitRange"}
    assert {each["metadata"]["namespace"] for each in found} == {"platform"}


def corefile(**settings: Any) -> str:
    found: str = one(desired_objects(**settings), "ConfigMap")["data"]["Corefile"]
    return found


def test_the_corefile_binds_the_address_of_the_dns_service() -> None:
    text = corefile()
    assert text.startswith("cluster.local:53 {")
    assert text.count("bind 169.254.20.10 10.43.0.10\n") == 4
    assert text.count("{") == text.count("}")
    assert "forward . __PILLAR__CLUSTER__DNS__" in text


@pytest.mark.parametrize(
    ("args", "bound"),
    [
        (["cluster-dns=10.9.0.53"], "10.9.0.53"),
        (["service-cidr=10.9.0.0/16"], "10.9.0.10"),
        (["service-cidr=10.9.0.0/16,fd00::/112"], "10.9.0.10 fd00::a"),
        (["--service-cidr=10.9.0.0/16@server:*"], "10.9.0.10"),
        (["--service-cidr", "10.9.0.0/16"], "10.9.0.10"),
        (["--cluster-dns 10.9.0.53"], "10.9.0.53"),
        (["service-cidr=10.8.0.0/16", "service-cidr=10.9.0.0/16", "cluster-dns=10.9.0.9,fd00::a"], "10.9.0.9 fd00::a"),
    ],
)
def test_the_corefile_follows_arguments_of_k3s(args: list[str], bound: str) -> None:
    text = corefile(cluster={"args": {"k3s": [*args, "--cluster-domain=home.arpa"]}})
    assert f"bind 169.254.20.10 {bound}\n" in text
    assert text.startswith("home.arpa:53 {")


@pytest.mark.parametrize("text", ["nonsense", "10.0.0.0/31"])
def test_a_service_range_without_room_is_told(text: str) -> None:
    with pytest.raises(BadInput, match="service-cidr"):
        desired_objects(cluster={"args": {"k3s": [f"service-cidr={text}"]}})


def copied(tmp_path: Path, name: str, text: str) -> Path:
    shutil.copytree(ROOT / "files", tmp_path / "files")
    (tmp_path / name).write_text(text)
    return tmp_path


def test_templates_may_be_edited(tmp_path: Path) -> None:
    text = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: every}\n"
        "data: {host: 'a.${DOMAIN}', keep: '${HOME} $x'}\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fixed, namespace: elsewhere}\n"
    )
    found = desired_objects(root=copied(tmp_path, desired.POLICIES, text), cluster={"domain": 'x"\nevil: "'})
    own = [each for each in found if each["kind"] == "ConfigMap" and each["metadata"]["name"] != "node-local-dns"]
    assert [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in own] == [
        ("platform", "every"),
        ("client-tools", "every"),
        ("elsewhere", "fixed"),
    ]
    assert own[0]["data"] == {"host": 'a.x"\nevil: "', "keep": "${HOME} $x"}


@pytest.mark.parametrize("name", [desired.NODE_LOCAL_DNS, desired.STORAGE, desired.POLICIES, desired.QUOTAS_FILE])
def test_a_broken_or_missing_template_is_told_by_its_name(tmp_path: Path, name: str) -> None:
    root = copied(tmp_path, name, "a: 1\n---\na: [\n")
    with pytest.raises(BadInput, match=name):
        desired_objects(root=root)
    (root / name).unlink()
    with pytest.raises(BadInput, match=name):
        desired_objects(root=root)
