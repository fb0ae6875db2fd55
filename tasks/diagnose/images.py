"""Causes that a registry tells, whoever asks it: the engine, k3d, Helm for OCI charts, or a node's containerd."""

from __future__ import annotations

from tasks.diagnose.diagnosis import Cause

_ASKERS = ("docker", "k3d", "helm", "node")

CAUSES = (
    Cause(
        id="rate-limit",
        programs=_ASKERS,
        patterns=(r"toomanyrequests", r"429 Too Many Requests", r"(?:pull|API) rate limit"),
        what="the registry lets nobody pull more for now",
        why="its limit for pulls is reached (Docker Hub counts those without a login by address)",
        fix="wait a while and run it again; `docker login` raises the limit, and a cache with a login keeps "
        "what was pulled (registries.caches: username_env, password_env)",
        transient=True,
    ),
    Cause(
        id="image-platform",
        programs=_ASKERS,
        patterns=(
            r"no matching manifest for (?P<platform>[\w/.-]+)",
            r"no match for platform in manifest",
            r"does not match the specified platform: wanted (?P<platform>[\w/.-]+)",
        ),
        what="the image does not exist for {platform}",
        why="the registry has it, but for other processors only",
        fix="choose a version that is built for this machine, or build the image for it (docker buildx)",
        otherwise={"platform": "this machine's processor"},
    ),
    Cause(
        id="image-missing",
        programs=_ASKERS,
        patterns=(
            r"manifest for (?P<image>\S+) not found",
            r'failed to resolve reference "(?P<image>[^"]+)": .*: not found',
            r"(?P<image>[\w.-]+(?::\d+)?/\S+?:[\w.-]+): not found",
            r"manifest unknown",
            r"MANIFEST_UNKNOWN",
            r"NAME_UNKNOWN",
            r"repository name not known to registry",
        ),
        what="there is no image {image}",
        why="its registry knows no such name or tag",
        fix="correct the name or the tag: cluster.image and cluster.kubernetes_version name the nodes' image, "
        "`images` those of the pre-pull, a chart's values those of its pods",
        otherwise={"image": "of that name and tag"},
    ),
    Cause(
        id="image-denied",
        programs=_ASKERS,
        patterns=(
            r"pull access denied for (?P<image>[^\s,]+)",
            r"pull access denied",
            r"insufficient_scope: authorization failed",
            r"denied: requested access to the resource is denied",
            r"\bunauthorized: ",
            r"no basic auth credentials",
            r"failed to authorize: failed to fetch (?:anonymous|oauth) token",
            r"(?:error from registry|manifests/[^\s:]+\"?): (?:denied|unauthorized)",
            r"401 Unauthorized",
            r"(?:registry|ghcr\.io|/v2/).*403 Forbidden",
        ),
        what="the registry does not give {image} to this login",
        why="the name is wrong, or it is private and the login is missing, expired or without the right to read",
        fix="correct the name, or log in: docker login REGISTRY for the engine, a dockerconfigjson secret for pods "
        "(github-pat-secret: GITHUB_TOKEN_CLASSIC with read:packages)",
        otherwise={"image": "the image"},
    ),
    Cause(
        id="image-name",
        programs=_ASKERS,
        patterns=(
            r"invalid reference format(?:: (?P<reason>.+))?",
            r"couldn't parse image (?:name|reference) (?P<reason>.+)",
        ),
        what="an image's name is not written as one",
        why="{reason}",
        fix="a name is [registry/]repository[:tag], in lower case and without blanks",
        otherwise={"reason": "the engine cannot read it"},
    ),
    Cause(
        id="registry-plain",
        programs=("docker", "k3d", "node"),
        patterns=(r"server gave HTTP response to HTTPS client",),
        what="the registry speaks plain HTTP, and is asked by HTTPS",
        why="only registries on loopback, and those that are named as insecure, are asked by HTTP",
        fix="write http:// in its address (registries.caches: url), or name it in insecure-registries of daemon.json",
    ),
)
