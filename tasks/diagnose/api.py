"""Causes that the Kubernetes API tells, through kubectl or Helm. What no repetition heals comes first."""

from __future__ import annotations

from tasks.diagnose.diagnosis import Cause

_CLIENTS = ("kubectl", "helm")
_INVALID = r"(?P<kind>[A-Z]\w{1,60})[.\w-]{0,60} \"(?P<name>[^\"]*)\" is invalid:\s+(?:\* )?"
_FIELD = r"(?P<field>[\w.\[\]/*]+): "


def _connecting(reason: str) -> tuple[str, ...]:
    """The reason, where it stands for a connection to the API itself, and not for one to a registry or a webhook."""
    return (
        rf"(?:Unable to connect to the server|[Kk]ubernetes cluster unreachable): .*{reason}",
        rf"Get \"https://(?:127\.0\.0\.1|localhost|\[::1\]|0\.0\.0\.0):\d+/\S*\": .*{reason}",
    )


CAUSES = (
    Cause(
        id="api-not-yet-valid",
        programs=_CLIENTS,
        patterns=_connecting(
            r"x509: certificate has expired or is not yet valid: current time (?P<now>\S+) is before .+"
        ),
        what="the certificate of the API is not yet valid",
        why="this machine's clock says {now}, which is before the certificate begins: that clock is slow, or that "
        "of the machine on which the cluster was created is fast",
        fix="set the clock (date -u shows it); the virtual machine of Docker Desktop is set right by restarting it",
    ),
    Cause(
        id="api-expired",
        programs=_CLIENTS,
        patterns=_connecting(
            r"x509: certificate has expired or is not yet valid(?:: current time (?P<now>\S+) is after .+)?"
        ),
        what="the certificate of the API has expired",
        why="this machine's clock says {now}: that clock is fast, or the cluster is older than its certificates",
        fix="see that the clock is right (date -u); k3s renews certificates of a year when it starts: "
        "`invoke down --stop`, then `invoke up`",
        otherwise={"now": "it is after the certificate's end"},
    ),
    Cause(
        id="api-other-name",
        programs=_CLIENTS,
        patterns=_connecting(
            r"x509: (?P<reason>certificate is (?:not )?valid for .+|cannot validate certificate for .+|"
            r"certificate relies on legacy Common Name field.*)"
        ),
        what="the certificate of the API is for another address than the kubeconfig's",
        why="{reason}",
        fix="`invoke cluster` reads the kubeconfig from the server again; with --engine existing use an address that "
        "is in the certificate, or have this one added to it (k3s: --tls-san)",
    ),
    Cause(
        id="api-stranger",
        programs=_CLIENTS,
        patterns=_connecting(r"x509: (?P<reason>.+)"),
        what="the API that answers is not that of this kubeconfig",
        why="{reason}: the cluster at this address was recreated since the kubeconfig was written, or a proxy opens "
        "TLS on the way",
        fix="`invoke cluster` reads the kubeconfig from the server again; with --engine existing renew that context; "
        "behind a proxy put the API's address into NO_PROXY",
    ),
    Cause(
        id="api-login",
        programs=_CLIENTS,
        patterns=(
            r"You must be logged in to the server",
            r"the server has asked for the client to provide credentials",
            r"Error from server \(Unauthorized\)",
            r'User "system:anonymous" cannot',
            *_connecting(r"remote error: tls: .*(?:certificate|unknown CA).*"),
        ),
        what="the API does not know this login",
        why="the kubeconfig is of an earlier cluster, or its certificate or token has expired",
        fix="`invoke cluster` reads it from the server again; with --engine existing renew that context's login",
    ),
    Cause(
        id="api-login-helper",
        programs=_CLIENTS,
        patterns=(
            r"getting credentials: (?P<reason>.+)",
            r"^error: (?P<reason>.*\bexec plugin\b.*|exec: executable .+|.*\bexec authentication plugin\b.*)",
        ),
        what="the program that the kubeconfig names for the login has failed",
        why="{reason}",
        fix="see that it is installed, and its login current: kubectl --context NAME get namespaces runs it, too",
    ),
    Cause(
        id="webhook-denied",
        programs=_CLIENTS,
        patterns=(r"admission webhook \"(?P<webhook>[^\"]+)\" denied the request: (?P<reason>.+)",),
        what="the admission webhook {webhook} refuses an object",
        why="{reason}",
        fix="change the object as the webhook says, or the rule that it follows",
    ),
    Cause(
        id="field-immutable",
        programs=_CLIENTS,
        patterns=(
            _INVALID + _FIELD + r".*(?P<reason>field is immutable)",
            _INVALID
            + _FIELD
            + r"Forbidden: (?P<reason>updates? to .*forbidden.*|.*immutable.*|.*may not be changed.*)",
            _FIELD + r".*(?P<reason>field is immutable)",
        ),
        what="{field} of {kind} {name} cannot be changed once it is made",
        why="{reason}",
        fix="delete that object and run the task again (what it holds is lost), or set the field back",
        otherwise={"kind": "an", "name": "object"},
    ),
    Cause(
        id="quota-exceeded",
        programs=_CLIENTS,
        patterns=(r"exceeded quota: (?P<quota>[^,\s]+), (?P<reason>.+)",),
        what="the quota {quota} of the namespace is used up",
        why="{reason}",
        fix="ask for less (requests of the chart or manifest), or raise manifests.quota.requests_cpu, "
        ".requests_memory, .pods",
    ),
    Cause(
        id="quota-unset",
        programs=_CLIENTS,
        patterns=(r"failed quota: (?P<quota>[^:\s]+): must specify (?P<reason>.+)",),
        what="the quota {quota} wants every container to name its requests",
        why="missing: {reason}",
        fix="set them in the manifest or chart, or give the namespace a LimitRange with defaults",
    ),
    Cause(
        id="forbidden",
        programs=_CLIENTS,
        patterns=(
            r"is forbidden: User \"(?P<user>[^\"]+)\" cannot (?P<verb>\w+) resource",
            r"is forbidden: violates PodSecurity \"(?P<policy>[^\"]+)\"",
            r"attempting to grant RBAC permissions not currently held",
        ),
        what="the API does not allow it",
        why="{line}",
        fix="with --engine existing ask for the missing right, or take a context that has it",
    ),
    Cause(
        id="field-unknown",
        programs=_CLIENTS,
        patterns=(
            r"strict decoding error: unknown field \"(?P<field>[^\"]+)\"",
            r"(?P<field>\.[\w.\[\]]+): field not declared in schema",
            r"unknown field \"(?P<field>[^\"]+)\" in",
        ),
        what="there is no field {field}",
        why="{line}",
        fix="correct its name or its indentation in the manifest; kubectl explain KIND.FIELD shows what there is",
    ),
    Cause(
        id="manifest-unreadable",
        programs=_CLIENTS,
        patterns=(
            r"error parsing (?P<file>\S+): error converting YAML to JSON: (?P<reason>.+)",
            r"error converting YAML to JSON: (?P<reason>.+)",
            r"Object 'Kind' is missing",
            r"json: cannot unmarshal (?P<reason>.+)",
        ),
        what="a manifest is no YAML that Kubernetes can read",
        why="{reason}",
        fix="correct the manifest at that line: indentation, a colon in an unquoted text, a tab",
        otherwise={"reason": "{line}"},
    ),
    Cause(
        id="conflict-owner",
        programs=_CLIENTS,
        patterns=(r"Apply failed with \d+ conflicts?: (?P<reason>.+)",),
        what="another program holds fields of an object",
        why="{reason}",
        fix="see who else applies it (kubectl get … -o yaml --show-managed-fields); only one may set a field. For a "
        "release, `conflicts: ours` takes such fields over and `theirs` leaves them",
    ),
    Cause(
        id="object-large",
        programs=_CLIENTS,
        patterns=(r"[Rr]equest entity too large", r"etcdserver: request is too large"),
        what="an object is too large for the API",
        why="{line}",
        fix="split it, or keep large data out of ConfigMaps and Secrets (their limit is 1 MiB)",
    ),
    Cause(
        id="object-invalid",
        programs=_CLIENTS,
        patterns=(
            _INVALID + r"(?P<reason>.+)",
            r"error validating data: (?!failed to download)(?P<reason>.+?)(?:; if you choose|$)",
        ),
        what="{kind} {name} is not valid",
        why="{reason}",
        fix="correct that field in the manifest or in the chart's values",
        otherwise={"kind": "an", "name": "object"},
    ),
    Cause(
        id="namespace-missing",
        programs=_CLIENTS,
        patterns=(
            r"namespaces \"(?P<namespace>[^\"]+)\" not found",
            r"create: failed to create: namespaces \"(?P<namespace>[^\"]+)\" not found",
        ),
        what="there is no namespace '{namespace}'",
        why="an object names it, and nothing has made it",
        fix="add it to NAMESPACES, or a manifest of it to manifests.files; `invoke namespaces` makes them",
    ),
    Cause(
        id="namespace-ending",
        programs=_CLIENTS,
        patterns=(
            r"unable to create new content in namespace (?P<namespace>\S+) because it is being terminated",
            r"object is being deleted: .*(?P<namespace>[\w-]+)?",
        ),
        what="the namespace {namespace} is being deleted",
        why="nothing can be made in it until that is done",
        fix="run it again; if it stays so, kubectl get namespace {namespace} -o yaml tells what holds it",
        transient=True,
        otherwise={"namespace": "of an object"},
    ),
    Cause(
        id="quota-settling",
        programs=_CLIENTS,
        patterns=(r"status unknown for quota: (?P<quota>[^,\s]+)",),
        what="the quota {quota} is not counted yet",
        why="a namespace admits no pods until its new quota has a status (kubernetes#73698)",
        fix="run it again",
        transient=True,
    ),
    Cause(
        id="account-settling",
        programs=_CLIENTS,
        patterns=(
            r"error looking up service account (?P<account>\S+?): serviceaccount \S+ not found",
            r"serviceaccounts? \"(?P<account>[^\"]+)\" not found",
        ),
        what="the service account {account} is not there yet",
        why="a controller makes it a moment after its namespace",
        fix="run it again; an account other than `default` must be in the manifests",
        transient=True,
    ),
    Cause(
        id="webhook-failing",
        programs=_CLIENTS,
        patterns=(
            r"failed calling webhook \"(?P<webhook>[^\"]+)\": (?P<reason>.+)",
            r"conversion webhook for (?P<webhook>.+?) failed: (?P<reason>.+)",
            r"no endpoints available for service \"(?P<webhook>[^\"]+)\"(?P<reason>)",
        ),
        what="the admission webhook {webhook} cannot be asked",
        why="{reason}",
        fix="run it again when its pods are up; if it stays so, look at them and at the network policies: "
        "webhooks are called from the nodes' addresses",
        transient=True,
        otherwise={"reason": "none of its pods is ready"},
    ),
    Cause(
        id="kind-missing",
        programs=_CLIENTS,
        patterns=(
            r"no matches for kind \"(?P<kind>[^\"]+)\" in version \"(?P<version>[^\"]+)\"",
            r"the server doesn't have a resource type \"(?P<kind>[^\"]+)\"",
            r"the server could not find the requested resource",
        ),
        what="the API does not serve {kind} of {version} yet",
        why="its CustomResourceDefinition was applied a moment ago, or is not there at all",
        fix="run it again; if it stays so, put the CRD, or the release that brings it, before it (`needs`)",
        transient=True,
        otherwise={"kind": "the kind", "version": "an object"},
    ),
    Cause(
        id="conflict",
        programs=_CLIENTS,
        patterns=(
            r"Operation cannot be fulfilled on (?P<object>[^:]+): the object has been modified",
            r"Error from server \(Conflict\)",
            r"Error from server \(AlreadyExists\)",
            r"StorageError: invalid object.*Precondition failed",
        ),
        what="{object} was changed by something else at the same moment",
        why="{line}",
        fix="run it again",
        transient=True,
        otherwise={"object": "an object"},
    ),
    Cause(
        id="api-busy",
        programs=_CLIENTS,
        patterns=(
            r"etcdserver: (?!request is too large)",
            r"the server is currently unable to handle the request",
            r"\(ServiceUnavailable\)",
            r"\(TooManyRequests\)|the server has received too many requests",
            r"\(Timeout\)|the server was unable to return a response in the time allotted",
            r"an error on the server \(.*\) has prevented the request from succeeding",
            r"apiserver not ready|apiserver is shutting down|storage is \(re\)initializing",
            r"leader changed",
            r"unable to retrieve the complete list of server APIs",
            r"couldn't get current server API group list",
        ),
        what="the API cannot answer for the moment",
        why="{line}",
        fix="run it again; `invoke health` tells which part of the API is not well",
        transient=True,
    ),
    Cause(
        id="api-refused",
        programs=_CLIENTS,
        patterns=(
            r"The connection to the server (?P<server>\S+) was refused",
            r"(?:Unable to connect to the server|[Kk]ubernetes cluster unreachable): (?!.*\blookup )",
            r"failed to download openapi: Get \"(?P<server>https?://[^/\"]+)[^\"]*\": (?!.*\blookup )",
            r"dial tcp (?P<server>127\.0\.0\.1:\d+|\[::1\]:\d+): connect: connection refused",
        ),
        what="the API does not answer at {server}",
        why="the server starts, is stopped, or has ended",
        fix="run it again; `invoke status` tells whether the cluster runs, `invoke up` starts one of this project",
        transient=True,
        otherwise={"server": "the kubeconfig's address"},
    ),
)
