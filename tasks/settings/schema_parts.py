"""Large parts of the tree of settings: the cluster, its network, builds, and the user's own steps.

For the names allowed in `needs` and `before` of a step see `references`.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from tasks.settings import valid
from tasks.settings.types import (
    Address,
    Bool,
    Cpus,
    Free,
    HostText,
    Image,
    Images,
    Labels,
    Memory,
    Name,
    NodeImage,
    PortNumber,
    Says,
    Seconds,
    Sources,
    Text,
    Texts,
    Tree,
    Variables,
    Whole,
    Words,
    frozen,
    section,
    setting,
)
from tasks.settings.valid import as_texts

PortMappings = Annotated[tuple[Annotated[Text, AfterValidator(valid.port_mapping)], ...], Says("a list of ports")]


class Limits(Tree):
    """Memory and CPU of the nodes."""

    enabled: Bool = setting(True, "Limit the nodes' memory and CPU.", env="K3D_RESOURCE_OPTIMIZATION")
    server_memory: Memory = setting("2G", "Memory of a server node.", env="K3D_MEMORY_LIMIT_SERVER", unit="bytes")
    agent_memory: Memory = setting("1.5G", "Memory of an agent node.", env="K3D_MEMORY_LIMIT_AGENT", unit="bytes")
    server_cpus: Cpus = setting(2.0, "CPUs of a server node.", env="K3D_CPU_LIMIT_SERVER", unit="CPUs")
    agent_cpus: Cpus = setting(1.0, "CPUs of an agent node.", env="K3D_CPU_LIMIT_AGENT", unit="CPUs")


class ComponentArgs(Tree):
    """More arguments of k3s and its components; they override the generated ones (parsed by `k3s_arguments`)."""

    k3s: Texts = setting(
        (), "Arguments of k3s itself, such as `disable=metrics-server`; agents get those that they support."
    )
    apiserver: Texts = setting((), "Arguments of kube-apiserver.")
    controller_manager: Texts = setting((), "Arguments of kube-controller-manager.")
    cloud_controller_manager: Texts = setting((), "Arguments of cloud-controller-manager.")
    scheduler: Texts = setting((), "Arguments of kube-scheduler.")
    kubelet: Texts = setting((), "Arguments of the kubelet. An unknown one prevents the node from starting.")
    kube_proxy: Texts = setting((), "Arguments of kube-proxy.")


class Ports(Tree):
    """Ports published on the host, each with its fallback: if both are in use, any free one."""

    http: PortNumber | None = setting(80, "Host port of the cluster's port 80; null publishes none.")
    http_fallback: PortNumber = setting(8080, "Used if `http` is taken.")
    https: PortNumber | None = setting(443, "Host port of the cluster's port 443; null publishes none.")
    https_fallback: PortNumber = setting(8443, "Used if `https` is taken.")
    api: PortNumber = setting(6550, "Host port of the Kubernetes API.")
    api_fallback: PortNumber = setting(6551, "Used if `api` is taken.")
    extra: PortMappings = setting(
        (), "More ports in k3d's format, such as `30000:30000@server:0:direct`; without nodes: like `http`."
    )


class Cluster(Tree):
    """The k3d cluster."""

    name: Name = setting(
        "openframe-dev", "Name of the cluster; k3d allows 32 characters.", env="CLUSTER_NAME", max_length=32
    )
    kubernetes_version: Annotated[Text, AfterValidator(valid.kubernetes_version), Says("a version")] = setting(
        "v1.35.5", "Version of Kubernetes; names the image rancher/k3s:VERSION-k3s1.", env="K8S_VERSION"
    )
    image: NodeImage | None = setting(None, "The k3s image; overrides the version.", env="K3S_IMAGE")
    tools_image: Image | None = setting(None, "k3d's tools image; null: k3d's own.", env="K3D_IMAGE_TOOLS")
    loadbalancer_image: Image | None = setting(
        None, "Image of k3d's load balancer; null: k3d's own.", env="K3D_IMAGE_LOADBALANCER"
    )
    servers: Whole = setting(1, "Server nodes; an even number tolerates no more failures than one less.", ge=1, le=9)
    agents: Whole | None = setting(None, "Agent nodes; null: from the machine.", env="K3D_AGENTS", ge=0, le=64)
    loadbalancer: Bool | None = setting(None, "k3d's load balancer; null: only with several servers.")
    pull_ahead: Bool | None = setting(
        None, "Pull pods' images into server-0 before pods are placed; null: if the engine has 4 CPUs or more."
    )
    bind_address: Address = setting("127.0.0.1", "Address that published ports are bound to; `${IP}`.", env="IP")
    domain: HostText = setting("localhost", "Domain of the environment; `${DOMAIN}`.", env="DOMAIN")
    timeout: Seconds = setting(180.0, "Timeout of `k3d cluster create`.", unit="seconds")
    limits: Limits = section(Limits, "Memory and CPU limits.")
    ports: Ports = section(Ports, "Published ports.")
    args: ComponentArgs = section(ComponentArgs, "Arguments of components.")
    scheduler_verbosity: Whole | None = setting(None, "The scheduler's log level `v`; null: off.", ge=0, le=10)
    kubelet_config: Free = setting({}, "Fields of a KubeletConfiguration drop-in (k3s 1.32 or later).")
    server_labels: Labels = setting({"role": "server"}, "Labels of server nodes.")
    agent_labels: Labels = setting({"role": "agent"}, "Labels of agent nodes.")
    volumes: Texts = setting((), "Volumes in k3d's format, such as `/data:/data@all:*`.")
    env: Texts = setting((), "Environment of nodes in k3d's format, such as `A=b@server:*`; without nodes: of all.")
    subnet: Annotated[Text, AfterValidator(valid.subnet), Says("a network")] | None = setting(
        None, "Subnet of the cluster's network, or `auto`; null: the engine chooses."
    )
    owner: Annotated[Text, AfterValidator(valid.owner), Says("a name")] | None = setting(
        None,
        "Owner of the cluster; null: this user of this machine. Set a name to share it among users or job containers.",
        env="OPENFRAME_OWNER",
    )


ProxyAddress = Annotated[Text, AfterValidator(valid.proxy), Says("a proxy's address such as http://proxy:3128")]
Hosts = Annotated[
    tuple[Annotated[Text, AfterValidator(valid.excluded)], ...],
    BeforeValidator(valid.hosts, json_schema_input_type=tuple[str, ...] | str),
    Says("a list of hosts, or one text with blanks, commas or semicolons between them"),
]


class Proxy(Tree):
    """Proxies of the pull-through caches and of the nodes; a login is percent-encoded, and never shown."""

    http: ProxyAddress | None = setting(None, "For http:// addresses; null: none.")
    https: ProxyAddress | None = setting(None, "For https:// addresses; null: none.")
    no_proxy: Hosts = setting(
        (), "Hosts without a proxy, besides the cluster itself: domains with subdomains, addresses, networks."
    )


class Network(Tree):
    """Network access of caches and nodes. The engine's own pulls, and programs on the host, are not affected."""

    proxy: Proxy = section(Proxy, "Proxies of caches and nodes.")
    ca: Texts = setting(
        (), "Files of certificate authorities, PEM or DER, that caches and nodes trust besides those of their images."
    )
    from_environment: Bool = setting(
        False,
        "Use values not set here from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, and from SSL_CERT_FILE, "
        "REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE.",
    )


class Build(Tree):
    """One image, built from a folder by `docker build` and pushed."""

    name: Name = setting(..., "Name of the build.")
    image: Annotated[Text, AfterValidator(valid.image_repository), Says("an image without a tag")] | None = setting(
        None,
        "Repository of the image, without a tag; null: the build's name. It goes to the push registry, or, if it "
        "starts with a registry's name such as ghcr.io/, to that one, with your login.",
    )
    context: Annotated[Text, AfterValidator(valid.folder), Says("a folder")] = setting(
        ".", "Build context, without what .dockerignore excludes."
    )
    dockerfile: Text = setting("Dockerfile", "The Dockerfile, relative to the context.")
    target: Text | None = setting(None, "Stage to build; null: the last one.")
    args: Variables = setting({}, "Values of ARG, by name; no secrets: they remain in the image's history.")
    secrets: Sources = setting({}, "Sources of secrets for `RUN --mount=type=secret,id=…`, by id; needs BuildKit.")
    platform: Annotated[Text, AfterValidator(valid.platform), Says("a platform")] | None = setting(
        None, "Platform, such as linux/arm64; null: the engine's own. Another one needs BuildKit."
    )
    cache_from: Images = setting((), "Images whose layers are reused; with BuildKit also from a registry.")
    timeout: Seconds = setting(1800.0, "Timeout of the build.", unit="seconds")
    enabled: Bool = setting(True, "false excludes it.")

    @property
    def repository(self) -> str:
        """The image without a tag, as configured."""
        return self.image or self.name


_ARGV = "a list of texts, the program first; or one text, with `shell: true`"


def _argv(value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - any JSON value
    """A single text is for a shell, and only for that; a list is passed unchanged. Raises ValueError."""
    shell = bool(info.data.get("shell"))
    if isinstance(value, str) and not shell:
        raise ValueError(f"must be {_ARGV}")
    if isinstance(value, str):
        value = (value,)
    if isinstance(value, list | tuple) and shell and len(value) != 1:
        raise ValueError("must be one text, since `shell` is true")
    if isinstance(value, list | tuple) and (not value or value[0] == ""):
        raise ValueError("must name a program, then its arguments")
    return value


Argv = Annotated[
    tuple[Annotated[str, AfterValidator(valid.argument)], ...],
    BeforeValidator(_argv, json_schema_input_type=tuple[str, ...] | str),
    Says(_ARGV),
]
Inputs = Annotated[
    tuple[Text | dict[str, Any], ...],
    BeforeValidator(as_texts, json_schema_input_type=tuple[str | dict[str, Any], ...] | str),
    AfterValidator(lambda value: tuple(frozen(each) for each in value)),
    Says("a list of files, folders and patterns, and of mappings of values"),
]


class OwnStep(Tree):
    """One command of the user, run as a step of a launch."""

    name: Name = setting(..., "Name of the step.")
    shell: Bool = setting(False, "`command` and `unless` are texts for `/bin/sh -c`.")
    command: Argv = setting(..., "The program and its arguments; one text with `shell`.")
    needs: Words | None = setting(
        None,
        "What must have succeeded first: tasks, releases, builds, manifests and steps, such as `secrets`, "
        "`release:db`, `build:api`, `manifests:deploy/db.yaml`, `step:seed`; a unique name alone is enough. "
        "null: the cluster, unless `before` names something before that; an empty list: it starts at once.",
    )
    before: Words = setting((), "What must not start before it has succeeded; names as in `needs`.")
    env: Variables = setting(
        {},
        "Variables, besides those of this process and KUBECONFIG, CONTEXT, IP and DOMAIN of the cluster; `${IP}`, "
        "`${DOMAIN}` and, of a build, `${image:NAME}` are filled in.",
    )
    secrets: Sources = setting({}, "Variables with secret values, by their sources; masked in all output.")
    dir: Text = setting(".", "Working directory, relative to the project's.")
    timeout: Seconds = setting(300.0, "Timeout of one attempt.", unit="seconds")
    retries: Whole = setting(0, "Number of retries after a failure.", ge=0, le=100)
    wait: Bool = setting(False, "It mostly waits: it takes a place of the waits instead of the commands.")
    unless: Argv | None = setting(None, "A command that runs first: if it succeeds, the step is skipped.")
    inputs: Inputs | None = setting(
        None,
        "Files, folders and patterns (`**` for any folders), relative to `dir`, and mappings of values. While these, "
        "the step itself and its needs are unchanged since its last success in this cluster, it is skipped. null: it "
        "runs at each launch.",
    )
    when: Literal["up", "down"] = setting("up", "down: before `invoke down` removes the cluster.")
    enabled: Bool = setting(True, "false excludes it.")
