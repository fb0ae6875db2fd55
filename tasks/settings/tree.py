"""The tree of settings: every name, default, type, unit and environment variable in one place.

Models are frozen and refuse unknown names. Sizes are bytes as Docker writes them (2G is 2 GiB);
durations are seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from tasks.settings.values import as_bool, as_memory, as_words, dns_label

Bool = Annotated[bool, BeforeValidator(as_bool)]
Memory = Annotated[str, BeforeValidator(as_memory)]
Words = Annotated[tuple[str, ...], BeforeValidator(as_words)]
Name = Annotated[str, AfterValidator(dns_label)]
PortNumber = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400)]


def setting(default: Any, text: str, *, env: str | None = None, unit: str | None = None, **more: Any) -> Any:  # noqa: ANN401
    """A field with its description, and where they exist its variable and unit."""
    extra: dict[str, Any] = {key: value for key, value in (("env", env), ("unit", unit)) if value is not None}
    return Field(default, description=text, json_schema_extra=extra or None, **more)


def section(factory: type[BaseModel], text: str) -> Any:  # noqa: ANN401
    """A field that holds a tree of its own."""
    return Field(default_factory=factory, description=text)


class Tree(BaseModel):
    """The base of all parts: frozen, no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Limits(Tree):
    """Memory and CPU of the nodes."""

    enabled: Bool = setting(True, "Limit the nodes' memory and CPU.", env="K3D_RESOURCE_OPTIMIZATION")
    server_memory: Memory = setting("2G", "Memory of a server node.", env="K3D_MEMORY_LIMIT_SERVER", unit="bytes")
    agent_memory: Memory = setting("1.5G", "Memory of an agent node.", env="K3D_MEMORY_LIMIT_AGENT", unit="bytes")
    server_cpus: float = setting(2.0, "CPUs of a server node.", env="K3D_CPU_LIMIT_SERVER", unit="CPUs", gt=0, le=1024)
    agent_cpus: float = setting(1.0, "CPUs of an agent node.", env="K3D_CPU_LIMIT_AGENT", unit="CPUs", gt=0, le=1024)


class ComponentArgs(Tree):
    """More arguments of k3s and its components, without leading dashes; they win over the generated ones."""

    k3s: tuple[str, ...] = setting((), "Arguments of `k3s server` itself, such as `disable=metrics-server`.")
    apiserver: tuple[str, ...] = setting((), "kube-apiserver")
    controller_manager: tuple[str, ...] = setting((), "kube-controller-manager")
    cloud_controller_manager: tuple[str, ...] = setting((), "cloud-controller-manager")
    scheduler: tuple[str, ...] = setting((), "kube-scheduler")
    kubelet: tuple[str, ...] = setting((), "kubelet")
    kube_proxy: tuple[str, ...] = setting((), "kube-proxy")


class Ports(Tree):
    """Ports published on the host, each with its fallback: the next wish, then any free one."""

    http: PortNumber | None = setting(80, "Host port of the cluster's port 80; null publishes none.")
    http_fallback: PortNumber = setting(8080, "Tried when `http` is taken.")
    https: PortNumber | None = setting(443, "Host port of the cluster's port 443; null publishes none.")
    https_fallback: PortNumber = setting(8443, "Tried when `https` is taken.")
    api: PortNumber = setting(6550, "Host port of the Kubernetes API.")
    api_fallback: PortNumber = setting(6551, "Tried when `api` is taken.")
    extra: tuple[str, ...] = setting((), "More ports as k3d writes them, such as `30000:30000@server:0:direct`.")


class Cluster(Tree):
    """The k3d cluster."""

    name: Annotated[str, AfterValidator(dns_label)] = setting(
        "openframe-dev", "Name of the cluster; k3d allows 32 characters.", env="CLUSTER_NAME", max_length=32
    )
    kubernetes_version: str = setting(
        "v1.32.3",
        "Version of Kubernetes; names the k3s image.",
        env="K8S_VERSION",
        pattern=r"^v?1\.\d+\.\d+([+-]k3s\d+)?$",
    )
    image: str | None = setting(None, "The k3s image; wins over the version.", env="K3S_IMAGE")
    servers: int = setting(1, "Server nodes.", ge=1, le=9)
    agents: int | None = setting(None, "Agent nodes; null: from the machine.", env="K3D_AGENTS", ge=0, le=64)
    loadbalancer: Bool | None = setting(None, "k3d's load balancer; null: only with several servers.")
    bind_address: str = setting("127.0.0.1", "Address that published ports are bound to; `${IP}`.", env="IP")
    domain: str = setting("localhost", "Domain of the environment; `${DOMAIN}`.", env="DOMAIN", min_length=1)
    timeout: Seconds = setting(180.0, "Limit of `k3d cluster create`.", unit="seconds")
    limits: Limits = section(Limits, "Memory and CPU limits.")
    ports: Ports = section(Ports, "Published ports.")
    args: ComponentArgs = section(ComponentArgs, "Arguments of components.")
    scheduler_verbosity: int | None = setting(None, "The scheduler's log level `v`; null: off.", ge=0, le=10)
    kubelet_config: dict[str, Any] = setting({}, "Fields of a KubeletConfiguration drop-in (k3s 1.32 or later).")
    server_labels: dict[str, str] = setting({"role": "server"}, "Labels of server nodes.")
    agent_labels: dict[str, str] = setting({"role": "agent"}, "Labels of agent nodes.")
    volumes: tuple[str, ...] = setting((), "Volumes as k3d writes them, such as `/data:/data@all:*`.")
    env: tuple[str, ...] = setting((), "Environment of nodes as k3d writes it, such as `A=b@server:*`.")
    subnet: str | None = setting(None, "Subnet of the cluster's network; null: the engine chooses.")


class Cache(Tree):
    """A pull-through cache of one upstream registry."""

    upstream: str = setting(..., "Name in image references, such as docker.io.", min_length=1)
    url: str | None = setting(None, "Where the cache asks; null: https:// and the name.", pattern=r"^https?://")
    username_env: str | None = setting(None, "Variable that holds the upstream's user name.")
    password_env: str | None = setting(None, "Variable that holds the upstream's password or token.")


class Registries(Tree):
    """Registries that all clusters of this engine share."""

    push: Bool = setting(True, "Run the push registry.")
    name: Name = setting("openframe-registry", "Name of the push registry; k3d puts `k3d-` before it.")
    port: PortNumber = setting(5050, "Host port of the push registry; then any free one.")
    image: str = setting("docker.io/library/registry:2", "Image of the registries.")
    caches: tuple[Cache, ...] = setting(
        (
            {"upstream": "docker.io", "url": "https://registry-1.docker.io"},
            {"upstream": "ghcr.io"},
            {"upstream": "quay.io"},
            {"upstream": "registry.k8s.io"},
        ),
        "Pull-through caches, one for each upstream.",
    )


class SecretSource(Tree):
    """Where a secret's value comes from: exactly one of the three."""

    env: str | None = setting(None, "A variable of the environment.")
    file: str | None = setting(None, "A file.")
    command: tuple[str, ...] | None = setting(None, "A command whose output it is.")


class Secret(Tree):
    """One secret, in each of its namespaces."""

    name: str = setting(..., "Name of the Kubernetes secret.", min_length=1)
    type: Literal["Opaque", "dockerconfigjson", "tls", "basic-auth"] = setting("Opaque", "Type of the secret.")
    namespaces: Words | None = setting(None, "Where it goes; null: every namespace.")
    registry: str = setting("ghcr.io", "dockerconfigjson: the registry.")
    username: str = setting("openframe", "dockerconfigjson and basic-auth: the user name.")
    values: dict[str, SecretSource] = setting(
        {}, "Sources by key. dockerconfigjson and basic-auth: `password`; tls: `tls.crt` and `tls.key`."
    )


class Quota(Tree):
    """Bounds of a namespace."""

    enabled: Bool = setting(True, "Apply files/resource-quotas.yaml to every namespace.")
    requests_cpu: str = setting("8", "Sum of CPU requests.")
    requests_memory: str = setting("16Gi", "Sum of memory requests.")
    pods: int = setting(100, "Pods.", ge=1)
    default_cpu: str = setting("10m", "CPU request of a container that names none.")
    default_memory: str = setting("32Mi", "Memory request of a container that names none.")


class Manifests(Tree):
    """Base resources and the user's own."""

    storage_class: Bool = setting(True, "Apply files/local-path-storage.yaml.")
    network_policies: Bool = setting(True, "Apply files/default-network-policies.yaml to every namespace.")
    node_local_dns: Bool = setting(
        True, "Apply files/nodelocaldns-configmap.yaml (without its DaemonSet it does nothing)."
    )
    quota: Quota = section(Quota, "files/resource-quotas.yaml")
    files: tuple[str, ...] = setting((), "Manifests of yours: files or folders, after the base resources.")


class Release(Tree):
    """One Helm release."""

    name: str = setting(..., "Name of the release.", min_length=1, max_length=53)
    namespace: Name = setting(..., "Its namespace; made if it is missing.")
    chart: str = setting(..., "repository/chart, oci://…, or a path that begins with ./ or /.", min_length=1)
    version: str | None = setting(None, "Version of the chart; null: the newest.")
    values: dict[str, Any] = setting({}, "Values; `${IP}` and `${DOMAIN}` are filled in.")
    values_files: tuple[str, ...] = setting((), "Files of values, before `values`.")
    needs: Words = setting((), "Releases that must be ready first.")
    wait: Bool = setting(True, "Wait until its workloads are ready.")
    timeout: Seconds = setting(300.0, "Limit of the installation, and again of the wait.", unit="seconds")
    enabled: Bool = setting(True, "Leave it out with false.")


class Helm(Tree):
    """Repositories and releases."""

    repositories: dict[str, str] = setting(
        {
            "jetstack": "https://charts.jetstack.io",
            "ingress-nginx": "https://kubernetes.github.io/ingress-nginx",
            "prometheus-community": "https://prometheus-community.github.io/helm-charts",
            "grafana": "https://grafana.github.io/helm-charts",
            "bitnami": "https://charts.bitnami.com/bitnami",
        },
        "Chart repositories by name.",
    )
    releases: tuple[Release, ...] = setting(
        (
            {
                "name": "cert-manager",
                "namespace": "cert-manager",
                "chart": "jetstack/cert-manager",
                "version": "v1.17.4",
                "values": {"crds": {"enabled": True}},
            },
        ),
        "Releases, installed by their needs.",
    )


class Ingress(Tree):
    """What answers at ports 80 and 443."""

    controller: Literal["traefik", "ingress-nginx", "none"] = setting(
        "traefik", "traefik is k3s's own; with another one it is not started."
    )


class Pool(Tree):
    """How much runs at once."""

    concurrency: int | None = setting(
        None, "Commands at once; null: from the machine.", env="CONCURRENCY_LEVEL", ge=1, le=256
    )
    downloads: int = setting(3, "Image downloads at once on the host.", env="K3D_CONCURRENT_DOWNLOADS", ge=1, le=64)
    helm: int | None = setting(None, "Helm commands at once; null: as many as commands.", ge=1, le=256)
    waits: int = setting(16, "Waits at once; they hold no slot.", ge=2, le=1024)


class Timeouts(Tree):
    """Deadlines of commands and waits."""

    command: Seconds = setting(60.0, "A short command.", unit="seconds")
    pull: Seconds = setting(900.0, "An image's or a chart's download.", unit="seconds")
    api: Seconds = setting(120.0, "Until the API answers.", unit="seconds")
    health: Seconds = setting(300.0, "Until nodes and services are ready.", unit="seconds")


class Kubeconfig(Tree):
    """The user's own kubeconfig."""

    merge: Bool = setting(True, "Put the cluster's entry into the first file of KUBECONFIG.")
    switch: Bool = setting(True, "Make it the current context when the launch succeeded.")


class Docker(Tree):
    """The Docker daemon."""

    tune: Literal["off", "auto"] = setting("off", "auto: `docker-tune` is up's first step where the rights allow.")


class Tools(Tree):
    """Where missing programs are fetched from; for mirrors."""

    k3d_url: str = setting(
        "https://github.com/k3d-io/k3d/releases/download", "Base address of k3d's releases.", pattern=r"^https?://"
    )
    kubectl_url: str = setting(
        "https://dl.k8s.io/release", "Base address of kubectl's releases.", pattern=r"^https?://"
    )
    helm_url: str = setting("https://get.helm.sh", "Base address of Helm's releases.", pattern=r"^https?://")


class Settings(Tree):
    """Everything that can be set."""

    profile: str | None = setting(None, "Profile under config/.", env="OPENFRAME_PROFILE")
    cluster: Cluster = section(Cluster, "The k3d cluster.")
    registries: Registries = section(Registries, "Shared registries.")
    namespaces: Words = setting(
        (
            "platform",
            "openframe-datasources",
            "openframe-microservices",
            "integrated-tools-datasources",
            "integrated-tools",
            "client-tools",
        ),
        "Namespaces.",
        env="NAMESPACES",
    )
    secrets: tuple[Secret, ...] = setting(
        (
            {
                "name": "github-pat-secret",
                "type": "dockerconfigjson",
                "values": {"password": {"env": "GITHUB_TOKEN_CLASSIC"}},
            },
        ),
        "Secrets.",
    )
    manifests: Manifests = section(Manifests, "Base resources.")
    helm: Helm = section(Helm, "Helm repositories and releases.")
    ingress: Ingress = section(Ingress, "The ingress.")
    images: tuple[str, ...] = setting((), "More images that `prepull` pulls on the host.")
    pool: Pool = section(Pool, "Bounds of concurrency.")
    timeouts: Timeouts = section(Timeouts, "Deadlines.")
    kubeconfig: Kubeconfig = section(Kubeconfig, "The user's kubeconfig.")
    docker: Docker = section(Docker, "The Docker daemon.")
    tools: Tools = section(Tools, "Sources of programs.")
    log_dir: str = setting("/tmp/openframe-deployment-logs", "Logs, run records.", env="DEPLOY_LOG_DIR", min_length=1)  # noqa: S108 - the users' own default; made with mode 0700 and refused if it is not ours
    silent: Bool = setting(False, "Nothing but errors.", env="SILENT")
