"""The cluster's part of the tree of settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from tasks.settings import words
from tasks.settings.types import (
    Address,
    Bool,
    Cpus,
    Free,
    HostText,
    Image,
    Labels,
    Memory,
    Name,
    PortNumber,
    Says,
    Seconds,
    Text,
    Texts,
    Tree,
    Whole,
    section,
    setting,
)

PortMappings = Annotated[tuple[Annotated[Text, AfterValidator(words.port_mapping)], ...], Says("a list of ports")]


class Limits(Tree):
    """Memory and CPU of the nodes."""

    enabled: Bool = setting(True, "Limit the nodes' memory and CPU.", env="K3D_RESOURCE_OPTIMIZATION")
    server_memory: Memory = setting("2G", "Memory of a server node.", env="K3D_MEMORY_LIMIT_SERVER", unit="bytes")
    agent_memory: Memory = setting("1.5G", "Memory of an agent node.", env="K3D_MEMORY_LIMIT_AGENT", unit="bytes")
    server_cpus: Cpus = setting(2.0, "CPUs of a server node.", env="K3D_CPU_LIMIT_SERVER", unit="CPUs")
    agent_cpus: Cpus = setting(1.0, "CPUs of an agent node.", env="K3D_CPU_LIMIT_AGENT", unit="CPUs")


class ComponentArgs(Tree):
    """More arguments of k3s and its components; they win over the generated ones (`k3s_arguments` reads them)."""

    k3s: Texts = setting(
        (), "Arguments of k3s itself, such as `disable=metrics-server`; agents get those that they take."
    )
    apiserver: Texts = setting((), "Arguments of kube-apiserver.")
    controller_manager: Texts = setting((), "Arguments of kube-controller-manager.")
    cloud_controller_manager: Texts = setting((), "Arguments of cloud-controller-manager.")
    scheduler: Texts = setting((), "Arguments of kube-scheduler.")
    kubelet: Texts = setting((), "Arguments of the kubelet. A node whose kubelet does not know one never starts.")
    kube_proxy: Texts = setting((), "Arguments of kube-proxy.")


class Ports(Tree):
    """Ports published on the host, each with its fallback: the next wish, then any free one."""

    http: PortNumber | None = setting(80, "Host port of the cluster's port 80; null publishes none.")
    http_fallback: PortNumber = setting(8080, "Tried when `http` is taken.")
    https: PortNumber | None = setting(443, "Host port of the cluster's port 443; null publishes none.")
    https_fallback: PortNumber = setting(8443, "Tried when `https` is taken.")
    api: PortNumber = setting(6550, "Host port of the Kubernetes API.")
    api_fallback: PortNumber = setting(6551, "Tried when `api` is taken.")
    extra: PortMappings = setting(
        (), "More ports as k3d writes them, such as `30000:30000@server:0:direct`; without nodes: as `http`."
    )


class Cluster(Tree):
    """The k3d cluster."""

    name: Name = setting(
        "openframe-dev", "Name of the cluster; k3d allows 32 characters.", env="CLUSTER_NAME", max_length=32
    )
    kubernetes_version: Annotated[Text, AfterValidator(words.kubernetes_version), Says("a version")] = setting(
        "v1.35.5", "Version of Kubernetes; names the image rancher/k3s:VERSION-k3s1.", env="K8S_VERSION"
    )
    image: Image | None = setting(None, "The k3s image; wins over the version.", env="K3S_IMAGE")
    tools_image: Image | None = setting(None, "k3d's tools image; null: k3d's own.", env="K3D_IMAGE_TOOLS")
    loadbalancer_image: Image | None = setting(
        None, "Image of k3d's load balancer; null: k3d's own.", env="K3D_IMAGE_LOADBALANCER"
    )
    servers: Whole = setting(1, "Server nodes; an even number survives no more failures than one less.", ge=1, le=9)
    agents: Whole | None = setting(None, "Agent nodes; null: from the machine.", env="K3D_AGENTS", ge=0, le=64)
    loadbalancer: Bool | None = setting(None, "k3d's load balancer; null: only with several servers.")
    pull_ahead: Bool | None = setting(
        None, "Pull pods' images into server-0 before pods are placed; null: if the engine has 4 CPUs or more."
    )
    bind_address: Address = setting("127.0.0.1", "Address that published ports are bound to; `${IP}`.", env="IP")
    domain: HostText = setting("localhost", "Domain of the environment; `${DOMAIN}`.", env="DOMAIN")
    timeout: Seconds = setting(180.0, "Limit of `k3d cluster create`.", unit="seconds")
    limits: Limits = section(Limits, "Memory and CPU limits.")
    ports: Ports = section(Ports, "Published ports.")
    args: ComponentArgs = section(ComponentArgs, "Arguments of components.")
    scheduler_verbosity: Whole | None = setting(None, "The scheduler's log level `v`; null: off.", ge=0, le=10)
    kubelet_config: Free = setting({}, "Fields of a KubeletConfiguration drop-in (k3s 1.32 or later).")
    server_labels: Labels = setting({"role": "server"}, "Labels of server nodes.")
    agent_labels: Labels = setting({"role": "agent"}, "Labels of agent nodes.")
    volumes: Texts = setting((), "Volumes as k3d writes them, such as `/data:/data@all:*`.")
    env: Texts = setting((), "Environment of nodes as k3d writes it, such as `A=b@server:*`; without nodes: of all.")
    subnet: Annotated[Text, AfterValidator(words.subnet), Says("a network")] | None = setting(
        None, "Subnet of the cluster's network, or `auto`; null: the engine chooses."
    )
    owner: Annotated[Text, AfterValidator(words.owner), Says("a name")] | None = setting(
        None,
        "Who owns the cluster; null: this user of this machine. A name that users or job containers share.",
        env="OPENFRAME_OWNER",
    )
