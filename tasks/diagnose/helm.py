"""Causes that Helm tells itself, in the words of versions 3 and 4 (helm: `pkg/action`, `pkg/downloader`)."""

from __future__ import annotations

from tasks.diagnose.diagnosis import Cause

_HELM = ("helm",)
_NO_INDEX = r"(?P<status>.*(?:unmarshal|unknown field|yaml:|no API version).*)"

CAUSES = (
    Cause(
        id="release-pending",
        programs=_HELM,
        patterns=(r"another operation \(install/upgrade/rollback\) is in progress",),
        what="the release is pending: another Helm works on it, or one that was killed has left it so",
        why="Helm touches no release whose last operation has not ended (helm#10323)",
        fix="if no other Helm runs: `invoke helm` again; it clears a pending release whose owner is gone",
    ),
    Cause(
        id="release-name",
        programs=_HELM,
        patterns=(r"cannot re-?use a name that is still in use",),
        what="there is a release of that name already",
        why="it was made since this launch looked, or its last installation failed",
        fix="`invoke helm` again: it upgrades a release that is there",
    ),
    Cause(
        id="release-undeployed",
        programs=_HELM,
        patterns=(r"\"?(?P<release>[\w.-]+)\"? has no deployed releases",),
        what="no revision of the release {release} was ever deployed",
        why="its first installation failed, and there is nothing to upgrade from",
        fix="helm uninstall {release} in its namespace, then `invoke helm` again",
    ),
    Cause(
        id="release-owner",
        programs=_HELM,
        patterns=(
            (
                r"(?P<object>[A-Z]\w{1,60} \"[^\"]+\" in namespace \"[^\"]*\") exists and cannot be imported into "
                r"the current release: (?P<reason>.+)"
            ),
        ),
        what="{object} is there already, and no part of this release",
        why="{reason}",
        fix="delete it, or leave it out of the chart or of the manifests: only one of the two may make it",
    ),
    Cause(
        id="chart-plain-http",
        programs=_HELM,
        patterns=(r"Get \"https://(?P<host>[^/\"]+)[^\n]*: http: server gave HTTP response to HTTPS client",),
        what="{host} speaks plain HTTP, and is asked by HTTPS",
        why="only OCI registries on loopback, and those that the settings name, are asked by HTTP",
        fix="an OCI registry: --set helm.plain_http={host}; a chart repository: write http:// in helm.repositories",
        otherwise={"host": "the registry"},
    ),
    Cause(
        id="chart-denied",
        programs=_HELM,
        patterns=(
            (
                r"(?:GET|HEAD|Get|Head) \"https?://(?P<host>[^/\"]+)/v2/[^\n]*: "
                r"(?:response status code 40[13]|basic credential not found|denied|unauthorized)"
            ),
            r"failed to authorize: failed to fetch (?:anonymous|oauth) token",
        ),
        what="the registry {host} does not give the chart to this login",
        why="the name is wrong, or it is private and the login is missing, expired or without the right to read",
        fix="helm registry login {host} (or docker login): the logins of both are used; a file elsewhere is named by "
        "helm.registry_config",
        otherwise={"host": "that was asked"},
    ),
    Cause(
        id="chart-missing-oci",
        programs=_HELM,
        patterns=(
            r"failed to perform \"FetchReference\" on source: (?P<chart>\S+?): not found",
            r"/v2/(?P<chart>\S+?)/tags/list\": response status code 404",
            r"unable to locate any tags in provided repository: (?P<chart>\S+)",
        ),
        what="the registry has no chart {chart}",
        why="it knows no such name or version",
        fix="correct `chart` and `version` of the release, or push it: helm push ARCHIVE oci://REGISTRY/FOLDER "
        "(to the push registry with --plain-http)",
    ),
    Cause(
        id="chart-missing",
        programs=_HELM,
        patterns=(
            (
                r"chart \"(?P<chart>[^\"]+)\" (?:version|matching) \"?(?P<version>[^\"\s]+)\"? "
                r"not found in (?P<repository>\S+)"
            ),
            r"chart \"(?P<chart>[^\"]+)\" not found in (?P<repository>\S+)",
            r"no chart (?:version|name) found(?: for (?P<chart>\S+))?",
            r"[Cc]ould not locate a version matching provided version string (?P<version>\S+)",
            r"failed to fetch (?P<chart>\S+\.tgz) : 404",
        ),
        what="there is no chart {chart} in version {version}",
        why="the repository {repository} does not list it",
        fix="correct `chart` and `version` of the release; helm search repo NAME --versions shows what there is",
        otherwise={"chart": "of that name", "version": "that is asked for", "repository": "that was asked"},
    ),
    Cause(
        id="repository-unknown",
        programs=_HELM,
        patterns=(
            r"repo (?P<repository>[\w.-]+) not found",
            r"no repositories found matching '(?P<repository>[^']+)'",
            r"no cached repo found",
            r"no repositor(?:y definition|ies (?:found|configured))",
        ),
        what="Helm knows no repository {repository}",
        why="it is not in helm.repositories, or its index was not fetched",
        fix="add it to helm.repositories by the name that `chart` uses; then `invoke helm`",
        otherwise={"repository": "of that name"},
    ),
    Cause(
        id="repository-bad",
        programs=_HELM,
        patterns=(
            r"failed to fetch (?P<url>\S+) : (?P<status>40[0134] [\w ]+)",
            r"looks like \"(?P<url>[^\"]+)\" is not a valid chart repository or cannot be reached: " + _NO_INDEX,
            r"chart repository \((?P<url>[^)]+)\):\n\s+" + _NO_INDEX,
            r"cannot unmarshal string into Go value of type repo\.IndexFile(?P<status>)",
            r"(?P<status>empty index\.yaml file)",
        ),
        what="{url} is no chart repository, or not for everybody",
        why="{status}",
        fix="correct its address in helm.repositories: it is the folder that holds index.yaml",
        otherwise={"url": "what the address gives", "status": "what it sends is no index (a web page, perhaps)"},
    ),
    Cause(
        id="values-schema",
        programs=_HELM,
        patterns=(
            (
                r"values don't meet the specifications of the schema\(s\) in the following chart\(s\):\s*\n"
                r"(?P<chart>[^\n]+?):\s*\n(?P<reason>- .+)"
            ),
            r"values don't meet the specifications of the schema\(s\)",
        ),
        what="the values do not fit the chart {chart}",
        why="{reason}",
        fix="correct helm.releases.values of the release; helm show values CHART shows what it takes",
        otherwise={"chart": "that they are for", "reason": "its values.schema.json refuses them"},
    ),
    Cause(
        id="values-unreadable",
        programs=_HELM,
        patterns=(r"failed to parse (?P<file>\S+): (?P<reason>.+)", r"failed parsing --set data: (?P<reason>.+)"),
        what="a file of values cannot be read",
        why="{file}: {reason}",
        fix="correct the YAML of that file (helm.releases.values_files)",
        otherwise={"file": "values"},
    ),
    Cause(
        id="template-error",
        programs=_HELM,
        patterns=(
            r"execution error at \((?P<place>[^)]+)\): (?P<reason>.+)",
            r"parse error at \((?P<place>[^)]+)\): (?P<reason>.+)",
            r"template: (?P<place>[^:\s]+:\d+(?::\d+)?): (?:executing .* at )?(?P<reason>.+)",
            r"YAML parse error on (?P<place>[^:]+): (?P<reason>.+)",
            r"(?P<place>\S+\.(?:yaml|tpl):\d+:\d+)\n\s+(?:executing .* at .*:\n\s+)?(?P<reason>\S.*)",
        ),
        what="the chart cannot be rendered: {place}",
        why="{reason}",
        fix="a value that the template needs is missing or of another type: see helm.releases.values, "
        "and try it with helm template",
    ),
    Cause(
        id="chart-kubernetes",
        programs=_HELM,
        patterns=(
            r"chart requires kubeVersion: (?P<wanted>.+?) which is incompatible with Kubernetes (?P<version>\S+)",
        ),
        what="the chart is not made for Kubernetes {version}",
        why="it asks for {wanted}",
        fix="choose another `version` of the chart, or another K8S_VERSION",
    ),
    Cause(
        id="chart-dependencies",
        programs=_HELM,
        patterns=(
            r"found in Chart\.yaml, but missing in charts/ directory: (?P<missing>.+)",
            r"the lock file .* is out of sync",
        ),
        what="the chart's own dependencies are not there",
        why="missing in its charts/ folder: {missing}",
        fix="use an archive that holds them: only a chart's folder on this machine has them built by the launch",
        otherwise={"missing": "what its lock file names"},
    ),
    Cause(
        id="chart-unreadable",
        programs=_HELM,
        patterns=(
            r"Chart\.yaml file is missing",
            r"gzip: invalid header|does not appear to be a gzipped archive",
            r"validation: chart\.metadata\.\S+ .*",
            r"invalid chart apiVersion",
        ),
        what="that is no chart that Helm can read",
        why="{line}",
        fix="see what `chart` of the release names; an archive that came broken is fetched again when it is deleted",
    ),
    Cause(
        id="hook-failed",
        programs=_HELM,
        patterns=(
            r"failed (?P<hook>(?:pre|post)-(?:install|upgrade)): (?:\d+ errors? occurred:)?\s*(?:\* )?(?P<reason>.+)",
            r"(?P<hook>(?:pre|post)-upgrade) hooks failed: (?:\d+ errors? occurred:)?\s*(?:\* )?(?P<reason>.+)",
        ),
        what="the chart's {hook} hook did not end well",
        why="{reason}",
        fix="kubectl get jobs,pods of the release's namespace, and the log of the hook's pod, tell why",
    ),
)

TIMEOUTS = (
    Cause(
        id="release-timeout",
        programs=_HELM,
        patterns=(
            r"resource (?P<object>\S+) not ready\. status: (?P<reason>.+)",
            r"timed out waiting for the condition",
            r"context deadline exceeded",
        ),
        what="{object} was not ready in time",
        why="{reason}",
        fix="look at the release's pods and events; `timeout` of the release is a setting",
        otherwise={"object": "a part of the release", "reason": "Helm's own limit has passed"},
    ),
)
"""Looked for last: what hides behind a time-out is told by the others."""
