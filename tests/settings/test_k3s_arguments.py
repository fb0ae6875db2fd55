"""Arguments of k3s and its components, however they are written."""

from pathlib import Path
from typing import Any

import pytest

from tasks.settings.k3s_arguments import (
    arguments_of,
    disabled,
    dns_addresses,
    domain,
    faults,
    parsed,
    pod_ranges,
    service_ranges,
    value_of,
    where,
)
from tasks.settings.schema_parts import Cluster

SERVERS, EVERYWHERE = ("server:*",), ("server:*", "agent:*")


def cluster(**args: Any) -> Cluster:
    return Cluster.model_validate({"args": args})


def texts(part: str, *given: str) -> list[str]:
    return [each.text for each in parsed(part, given)]


@pytest.mark.parametrize(
    "given",
    [
        ["cluster-cidr=10.52.0.0/16"],
        ["--cluster-cidr=10.52.0.0/16"],
        ["-cluster-cidr=10.52.0.0/16"],
        ["cluster-cidr 10.52.0.0/16"],
        ["--cluster-cidr 10.52.0.0/16"],
        ["--cluster-cidr", "10.52.0.0/16"],
        ["cluster-cidr", "10.52.0.0/16"],
        ["--cluster-cidr=10.52.0.0/16@server:*"],
        ["--cluster-cidr", "10.52.0.0/16@all:*"],
        ["disable-network-policy", "--cluster-cidr=10.52.0.0/16", "tls-san=x"],
    ],
)
def test_one_value_of_every_spelling(given: list[str]) -> None:
    assert pod_ranges(cluster(k3s=given)) == ("10.52.0.0/16",)


@pytest.mark.parametrize(
    ("part", "given", "expected"),
    [
        ("k3s", ["--disable-network-policy", "tls-san=x"], ["disable-network-policy", "tls-san=x"]),
        ("k3s", ["-t", "abc", "-i=10.0.0.1"], ["token=abc", "node-ip=10.0.0.1"]),
        ("k3s", ["--node-label a=b", "node-taint=k=v:NoSchedule"], ["node-label=a=b", "node-taint=k=v:NoSchedule"]),
        ("k3s", ["--snapshotter", "--v=2"], ["snapshotter", "v=2"]),
        ("kubelet", ["--max-pods", "50", "v=2", "alone", "other"], ["max-pods=50", "v=2", "alone", "other"]),
        ("kubelet", ["--fail-swap-on", "--v=2"], ["fail-swap-on", "v=2"]),
        ("apiserver", [r"audit=me\@here"], ["audit=me@here"]),
        ("k3s", ["--", "v=1"], ["v=1"]),
    ],
)
def test_arguments(part: str, given: list[str], expected: list[str]) -> None:
    assert texts(part, *given) == expected


def test_lists_add_up_and_others_are_overruled() -> None:
    result = cluster(
        k3s=[
            *("--cluster-cidr=10.52.0.0/16,fd52::/56", "service-cidr=10.53.0.0/16", "--service-cidr", "fd53::/112"),
            *(
                "--disable=traefik",
                "disable=servicelb,metrics-server",
                "cluster-domain=a",
                "--cluster-domain=b.example",
            ),
        ]
    )
    assert pod_ranges(result) == ("10.52.0.0/16", "fd52::/56")
    assert service_ranges(result) == ("10.53.0.0/16", "fd53::/112")
    assert dns_addresses(result) == ("10.53.0.10", "fd53::a")
    assert disabled(result) == {"traefik", "servicelb", "metrics-server"}
    assert domain(result) == "b.example"
    assert dns_addresses(cluster(k3s=["--cluster-dns=10.53.0.53"])) == ("10.53.0.53",)


@pytest.mark.parametrize(
    ("volume", "more"),
    [
        ("{}/config.yaml:/etc/rancher/k3s/config.yaml@server:*", {}),
        ("{}:/etc/rancher/k3s:ro@all:*", {}),
        ("{}/config.yaml:/mine.yaml", {"args": {"k3s": ["--config=/mine.yaml"]}}),
        ("{}/config.yaml:/mine.yaml", {"env": ["K3S_CONFIG_FILE=/mine.yaml@server:*"]}),
    ],
)
def test_a_configuration_file_of_k3s_is_followed(tmp_path: Path, volume: str, more: dict[str, Any]) -> None:
    (tmp_path / "config.yaml").write_text(
        "cluster-cidr: [10.52.0.0/16, fd52::/56]\ncluster-domain: home.arpa\ndisable: traefik\n"
    )
    result = Cluster.model_validate({"volumes": [volume.format(tmp_path)], **more})
    assert (pod_ranges(result), domain(result)) == (("10.52.0.0/16", "fd52::/56"), "home.arpa")
    assert disabled(result) == {"traefik"}
    (tmp_path / "config.yaml").write_text("a: [\n")
    assert pod_ranges(result) == ("10.42.0.0/16",)


def test_arguments_come_after_a_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("cluster-domain: home.arpa\ndisable: [traefik]\n")
    result = Cluster.model_validate(
        {
            "volumes": [f"{tmp_path}/c:/etc/rancher/k3s/config.yaml"],
            "args": {"k3s": ["cluster-domain=other", "disable=servicelb"]},
        }
    )
    assert domain(result) == "other"
    assert disabled(result) == {"traefik", "servicelb"}


def test_defaults_of_k3s() -> None:
    result = cluster()
    assert (pod_ranges(result), dns_addresses(result), domain(result)) == (
        ("10.42.0.0/16",),
        ("10.43.0.10",),
        "cluster.local",
    )


def test_what_k3s_hands_on_to_a_component_is_the_components() -> None:
    result = cluster(k3s=["--kubelet-arg=max-pods=50", "kubelet-arg=--v=4@agent:*"], kubelet=["max-pods=60"])
    assert value_of(result, "kubelet", "max-pods") == "60"
    assert [each.text for each in arguments_of(result, "kubelet")] == ["max-pods=50", "v=4", "max-pods=60"]
    assert value_of(result, "kubelet", "eviction-hard") is None


AGENTS_TOO = (
    "snapshotter=native node-ip=10.0.0.1 kubelet-arg=v=2 kube-proxy-arg=v=2 flannel-iface=eth0 node-label=a=b "
    "node-taint=a=b:NoSchedule resolv-conf=/x private-registry=/x selinux protect-kernel-defaults prefer-bundled-bin "
    "pause-image=x container-runtime-endpoint=x node-external-ip=1.2.3.4 with-node-id debug v=3 token=x"
)


@pytest.mark.parametrize("text", AGENTS_TOO.split())
def test_what_an_agent_takes_goes_to_agents_too(text: str) -> None:
    (each,) = parsed("k3s", [f"--{text}"])
    assert where("k3s", each) == EVERYWHERE


SERVERS_ALONE = (
    "cluster-cidr=x service-cidr=x cluster-dns=x cluster-domain=x disable=traefik tls-san=x kube-apiserver-arg=v=2 "
    "etcd-arg=x flannel-backend=none disable-network-policy secrets-encryption node-name=x config=/x server=x "
    "brand-new=1"
)


@pytest.mark.parametrize("text", SERVERS_ALONE.split())
def test_an_agent_never_gets_what_ends_it(text: str) -> None:
    (each,) = parsed("k3s", [text])
    assert where("k3s", each) == SERVERS


@pytest.mark.parametrize(
    ("part", "text", "expected"),
    [
        ("k3s", "snapshotter=native@agent:*", ("agent:*",)),
        ("k3s", "snapshotter=native@all", EVERYWHERE),
        ("k3s", "node-name=x@agent:0", ("agent:0",)),
        ("k3s", "cluster-cidr=x@all:*", SERVERS),
        ("k3s", "cluster-cidr=x@server:0;agent:*", ("server:0",)),
        ("k3s", "cluster-cidr=x@agent:*", ()),
        ("k3s", "brand-new=1@agent:*", ("agent:*",)),
        ("kubelet", "v=4@agent:0", ("agent:0",)),
        ("apiserver", "v=4@agent:0", ()),
    ],
)
def test_node_filters_say_where_as_far_as_it_is_possible(part: str, text: str, expected: tuple[str, ...]) -> None:
    (each,) = parsed(part, [text])
    assert where(part, each) == expected


def test_faults_are_found_without_a_value() -> None:
    found = list(faults("k3s", ["--cluster-cidr", "--v=2", "tls-san=s3cret@agent:*", "snapshotter"]))
    assert found == [
        "gives cluster-cidr no value",
        "gives tls-san to agents only: agent:*",
        "gives snapshotter no value",
    ]
    assert not list(faults("kubelet", ["fail-swap-on", "v=2@agent:0"]))


@pytest.mark.parametrize(
    ("part", "text", "fault"),
    [
        ("k3s", "--disable=traefik --token=s3cret", "more than one argument in the item that starts with disable"),
        ("k3s", "tls-san a -v 3", "starts with tls-san"),
        ("apiserver", "v=2 --audit-log-maxage=1", "starts with v"),
        ("k3s", "cluster-cidr=10.52.0.0/16,10.53.0.0/99", "gives cluster-cidr '10.53.0.0/99', which is not a network"),
        ("k3s", "--service-cidr = 10.53.0.0/16", "gives service-cidr '= 10.53.0.0/16', which is not a network"),
        ("k3s", "--cluster-cidr=10.52.0.1/16,fd00:52::/56", ""),
        ("k3s", "--cluster-cidr=", ""),
        ("kubelet", "system-reserved=cpu=1 memory=1-2", ""),
    ],
)
def test_a_text_that_k3s_would_misread_is_found(part: str, text: str, fault: str) -> None:
    found = list(faults(part, [text]))
    assert (fault in found[0] and "s3cret" not in found[0]) if fault else found == []


def test_quotes_around_a_value_are_taken_off_as_a_shell_does() -> None:
    result = cluster(k3s=["--cluster-cidr='10.52.0.0/16'", 'service-cidr "10.53.0.0/16"', "--tls-san='a'b'"])
    assert (pod_ranges(result), service_ranges(result)) == (("10.52.0.0/16",), ("10.53.0.0/16",))
    assert value_of(result, "k3s", "tls-san") == "a'b"
