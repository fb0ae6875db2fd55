"""The tree of settings: every name, default, type, unit and environment variable, here and in `cluster`.

Models are frozen and reject unknown names; their mappings are immutable. Sizes are bytes in Docker's
notation (2G is 2 GiB); durations are seconds, or texts such as 5m.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, model_validator

from tasks.settings import valid
from tasks.settings.schema_parts import Build, Cluster, Network, OwnStep
from tasks.settings.types import (
    Amount,
    AnyText,
    Bool,
    Free,
    Hosts,
    HttpUrl,
    Image,
    Images,
    Name,
    Namespaces,
    OwnNamespaces,
    PortNumber,
    PublicUrl,
    Says,
    Seconds,
    Sources,
    Text,
    Texts,
    Tree,
    Urls,
    Variable,
    Whole,
    Words,
    section,
    setting,
)
from tasks.settings.valid import as_choice

INGRESS_VERSION = "4.15.1"
"""The project's last chart, of March 2026, for Kubernetes 1.31 to 1.35 (source: ingress-nginx, README)."""
Tune = Annotated[Literal["off", "auto"], BeforeValidator(as_choice)]
Folder = Annotated[Text, AfterValidator(valid.folder), Says("a folder")]
File = Annotated[Text, AfterValidator(valid.file), Says("a file's path")]


class Cache(Tree):
    """A pull-through cache of one upstream registry."""

    KEY: ClassVar[str] = "upstream"

    upstream: Annotated[Text, AfterValidator(valid.registry_host), Says("a registry's name")] = setting(
        ..., "Name in image references, such as docker.io."
    )
    url: PublicUrl | None = setting(None, "Address of the upstream; null: https:// and the name.")
    username_env: Variable | None = setting(None, "Variable with the upstream's user name.")
    password_env: Variable | None = setting(None, "Variable with the upstream's password or token.")


class Registries(Tree):
    """Registries that all clusters of this engine share."""

    push: Bool = setting(True, "Run the push registry.")
    name: Name = setting("openframe-registry", "Name of the push registry; k3d puts `k3d-` before it.", max_length=59)
    port: PortNumber = setting(5050, "Host port of the push registry, or any free one.")
    image: Image = setting("docker.io/library/registry:2", "Image of the registries.")
    caches: tuple[Cache, ...] = setting(
        (
            {"upstream": "docker.io", "url": "https://registry-1.docker.io"},
            {"upstream": "ghcr.io"},
            {"upstream": "quay.io"},
            {"upstream": "registry.k8s.io"},
        ),
        "Pull-through caches, one for each upstream.",
    )


_SecretTypes = Literal["Opaque", "dockerconfigjson", "tls", "basic-auth", "ssh-auth"]
SecretType = Annotated[_SecretTypes, BeforeValidator(valid.secret_type, json_schema_input_type=_SecretTypes | str)]


class Secret(Tree):
    """One secret, in each of its namespaces."""

    name: AnyText = setting(..., "Name of the Kubernetes secret.")
    type: SecretType = setting("Opaque", "Type of the secret, with or without `kubernetes.io/`.")
    namespaces: Namespaces | None = setting(None, "Target namespaces; null: all.")
    registry: AnyText = setting("ghcr.io", "dockerconfigjson: the registry.")
    username: AnyText = setting("openframe", "dockerconfigjson and basic-auth: the user name.")
    values: Sources = setting(
        {},
        "Sources by key. dockerconfigjson: `password`, or a whole `.dockerconfigjson`; basic-auth: `password`; tls: "
        "`tls.crt` and `tls.key`; ssh-auth: `ssh-privatekey`.",
    )


class Quota(Tree):
    """Quotas and defaults of a namespace."""

    enabled: Bool = setting(True, "Apply files/resource-quotas.yaml to every namespace.")
    requests_cpu: Amount = setting("8", "Sum of CPU requests.")
    requests_memory: Amount = setting("16Gi", "Sum of memory requests.")
    pods: Whole = setting(100, "Pods.", ge=1, le=100_000)
    default_cpu: Amount = setting("10m", "Default CPU request of a container.")
    default_memory: Amount = setting("32Mi", "Default memory request of a container.")


class ManifestFile(Tree):
    """A file, a folder or a kustomization of manifests; can also be given as a path."""

    KEY: ClassVar[str] = "path"
    SHORT: ClassVar[bool] = True

    path: Text = setting(..., "The file, the folder, a pattern such as k8s/*.yaml, or the folder with a kustomization.")
    needs: Words = setting(
        (), "Releases that must be ready before its objects are applied; `namespace/name` if two have the same name."
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        return {"path": value} if isinstance(value, str) else value


class Manifests(Tree):
    """Base resources and the user's own."""

    storage_class: Bool = setting(True, "Apply files/local-path-storage.yaml.")
    network_policies: Bool = setting(True, "Apply files/default-network-policies.yaml to every namespace.")
    node_local_dns: Bool = setting(
        True, "Apply files/nodelocaldns-configmap.yaml (without its DaemonSet it has no effect)."
    )
    quota: Quota = section(Quota, "files/resource-quotas.yaml")
    files: tuple[ManifestFile, ...] = setting(
        (), "Your own manifests, after the base resources: files, folders, or kustomizations, as paths or with `needs`."
    )


class Release(Tree):
    """One Helm release."""

    name: Annotated[Text, AfterValidator(valid.release_name), Says("a release's name")] = setting(
        ..., "Name of the release."
    )
    namespace: Name = setting(..., "Its namespace; created if it is missing.")
    chart: Text = setting(..., "repository/chart, oci://…, or a path that starts with ./ or /.")
    version: Text | None = setting(None, "Version of the chart; null: the latest.")
    values: Free = setting(
        {}, "Values; `${IP}` and `${DOMAIN}` are filled in, `$${IP}` becomes `${IP}`; null removes a chart's default."
    )
    values_files: Texts = setting((), "Values files, applied before `values`.")
    needs: Words = setting((), "Releases that must be ready first; `namespace/name` if two have the same name.")
    wait: Bool = setting(True, "Wait until its workloads are ready.")
    conflicts: Literal["ours", "theirs"] = setting(
        "ours",
        "On an upgrade, for fields that others have set since (kubectl, an autoscaler, a "
        "controller): ours: set the chart's values; theirs: leave them.",
    )
    wait_for_jobs: Bool = setting(False, "Wait until its Jobs are complete, not only until they run.")
    timeout: Seconds = setting(300.0, "Timeout of the installation, and again of the wait.", unit="seconds")
    enabled: Bool = setting(True, "false excludes it.")


class Helm(Tree):
    """Repositories and releases."""

    repositories: Urls = setting(
        {
            "jetstack": "https://charts.jetstack.io",
            "ingress-nginx": "https://kubernetes.github.io/ingress-nginx",
            "prometheus-community": "https://prometheus-community.github.io/helm-charts",
            "grafana": "https://grafana.github.io/helm-charts",
            "bitnami": "https://charts.bitnami.com/bitnami",
        },
        "Chart repositories by name.",
    )
    plain_http: Hosts = setting(
        (),
        "OCI registries contacted over plain HTTP for charts, such as registry.lan:5000; always so on loopback.",
    )
    registry_config: Annotated[Text, AfterValidator(valid.folder), Says("a file's path")] | None = setting(
        None, "File with logins to OCI registries; null: that of `helm registry login`. Docker's logins are used, too."
    )
    releases: tuple[Release, ...] = setting(
        (
            {
                "name": "cert-manager",
                "namespace": "cert-manager",
                "chart": "jetstack/cert-manager",
                "version": "v1.20.3",
                # the hook of `startupapicheck` would block a helm process until the webhook answers: a step waits for
                # readiness, without a process
                "values": {"crds": {"enabled": True}, "startupapicheck": {"enabled": False}},
            },
        ),
        "Releases, installed in the order of their needs.",
    )


class Ingress(Tree):
    """The ingress controller at ports 80 and 443."""

    controller: Literal["traefik", "ingress-nginx", "none"] = setting(
        "traefik",
        "traefik is that of k3s; with another one it is disabled. ingress-nginx adds a release of that "
        "name, unless one of that chart is configured; its project ended in March 2026.",
    )

    def release(self) -> Release:
        """The release of a controller that is not part of k3s."""
        return Release(
            name=self.controller,
            namespace=self.controller,
            chart=f"{self.controller}/{self.controller}",
            version=INGRESS_VERSION,
            values={"controller": {"ingressClassResource": {"default": True}}},
        )


class Pool(Tree):
    """Limits of concurrency."""

    concurrency: Whole | None = setting(
        None, "Concurrent commands; null: from the machine.", env="CONCURRENCY_LEVEL", ge=1, le=256
    )
    downloads: Whole = setting(
        3,
        "Concurrent image downloads on the host; if set, also in nodes (`maxParallelImagePulls`).",
        env="K3D_CONCURRENT_DOWNLOADS",
        ge=1,
        le=64,
    )
    builds: Whole | None = setting(
        None, "Concurrent image builds; null: the number of the engine's CPUs, at most 4.", ge=1, le=64
    )
    helm: Whole | None = setting(None, "Concurrent Helm commands; null: as many as commands.", ge=1, le=256)
    steps: Whole | None = setting(None, "Concurrent own commands (`steps`); null: as many as commands.", ge=1, le=256)
    waits: Whole = setting(16, "Concurrent waits; they take no slot.", ge=2, le=1024)


class Timeouts(Tree):
    """Timeouts of commands and waits."""

    command: Seconds = setting(60.0, "A short command.", unit="seconds")
    pull: Seconds = setting(900.0, "An image's or a chart's download.", unit="seconds")
    api: Seconds = setting(120.0, "Until the API answers.", unit="seconds")
    health: Seconds = setting(300.0, "Until nodes and services are ready.", unit="seconds")


class Health(Tree):
    """What a launch waits for."""

    wait_for: Namespaces = setting(
        ("needed",),
        "Components of kube-system to wait for besides those that are always needed: `needed` means those that a "
        "claim, an Ingress or an autoscaler of this launch uses; `all` means everything; or names, such as "
        "metrics-server, traefik or local-path-provisioner. `invoke health` always waits for everything.",
    )


class Kubeconfig(Tree):
    """The user's own kubeconfig."""

    merge: Bool = setting(True, "Add the cluster's entry to the first file of KUBECONFIG.")
    switch: Bool = setting(True, "Make it the current context when the launch succeeds.")


class Docker(Tree):
    """The Docker daemon."""

    tune: Tune = setting("off", "auto: `docker-tune` is the first step of `up`, given the permissions.")
    daemon_json: File | None = setting(None, "Docker's daemon.json; null: detected, rootful, rootless or snap.")
    max_concurrent_downloads: Whole | None = setting(
        10, "Minimum of concurrent layer downloads in Docker; null: unchanged.", ge=1, le=256
    )
    max_concurrent_uploads: Whole | None = setting(
        10, "Minimum of concurrent layer uploads in Docker; null: unchanged.", ge=1, le=256
    )
    mirror: Bool = setting(True, "Docker also pulls images of Docker Hub through the cache of docker.io.")


class Tools(Tree):
    """Sources of missing programs; for mirrors."""

    k3d_url: HttpUrl = setting("https://github.com/k3d-io/k3d/releases/download", "Base address of k3d's releases.")
    kubectl_url: HttpUrl = setting("https://dl.k8s.io/release", "Base address of kubectl's releases.")
    helm_url: HttpUrl = setting("https://get.helm.sh", "Base address of Helm's releases.")


class Settings(Tree):
    """All settings."""

    profile: Text | None = setting(
        None, "Profile: NAME of config/NAME.yaml, or a path with a slash; `none` for none.", env="OPENFRAME_PROFILE"
    )
    cluster: Cluster = section(Cluster, "The k3d cluster.")
    registries: Registries = section(Registries, "Shared registries.")
    network: Network = section(Network, "Proxies and certificate authorities of caches and nodes.")
    namespaces: OwnNamespaces = setting(
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
    builds: tuple[Build, ...] = setting((), "Your own images, built and pushed while the cluster starts.")
    manifests: Manifests = section(Manifests, "Base resources.")
    helm: Helm = section(Helm, "Helm repositories and releases.")
    ingress: Ingress = section(Ingress, "The ingress.")
    steps: tuple[OwnStep, ...] = setting((), "Your own commands, as steps of the launch.")
    images: Images = setting((), "Additional images that `prepull` pulls on the host.")
    pool: Pool = section(Pool, "Limits of concurrency.")
    timeouts: Timeouts = section(Timeouts, "Deadlines.")
    health: Health = section(Health, "What a launch waits for.")
    kubeconfig: Kubeconfig = section(Kubeconfig, "The user's kubeconfig.")
    docker: Docker = section(Docker, "The Docker daemon.")
    tools: Tools = section(Tools, "Sources of programs.")
    log_dir: Folder = setting("/tmp/openframe-deployment-logs", "Logs, run records.", env="DEPLOY_LOG_DIR")  # noqa: S108 - the users' own default; made with mode 0700 and refused if it is not ours
    silent: Bool = setting(False, "Print only errors.", env="SILENT")
