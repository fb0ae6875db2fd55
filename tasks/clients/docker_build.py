"""docker's command lines that build and push images, and the parsing of their output."""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from tasks.clients.dockerfile import Instruction, instructions
from tasks.core.imageref import parse
from tasks.process.command import Command, CommandFailed, last_line

LABEL = "openframe.build"
"""On images that this project builds: the build's name."""
_STEP = re.compile(r"Step (\d+)/(\d+) : (.+)")
"""The classic builder: the current instruction."""
_STAGE = re.compile(r"#\d+ (\[[^\]]+\] .+)")
"""BuildKit with plain progress: a stage that starts or continues."""
_RESOLVED = re.compile(r"#\d+ (?:\[[^\]]+\] )?FROM (\S+?)@(sha256:[0-9a-f]{64})")
_AT_LINE = re.compile(r"^\S+:(\d+)\n-{5,}$", re.MULTILINE)
"""BuildKit's client, above the lines that it shows of the Dockerfile."""
_FAILED = re.compile(r"^ > \[[^\]]+\] (.+):$", re.MULTILINE)
"""BuildKit, before the output of the instruction; engines before 23 do not print the line."""
_DEPRECATED = re.compile(r"^DEPRECATED: The legacy builder.*\n(?:[ \t].*\n|\n)*", re.MULTILINE)
_NOISE = re.compile(
    r"(?:failed to (?:build|solve|create LLB definition)(?: with frontend \S+)?: |rpc error: code = \w+ desc = )+"
)
"""What BuildKit and its client put before a message."""
_LAYER = re.compile(r"([0-9a-f]{12}): (.+)")
_DONE = ("Pushed", "Layer already exists", "Pull complete", "Already exists")


class Builder(Enum):
    """The builder behind `docker build`."""

    CLASSIC = "the classic builder"
    BUILDKIT = "BuildKit"
    """Built into docker before version 23."""
    BUILDX = "BuildKit by buildx"

    @property
    def is_buildkit(self) -> bool:
        """Whether it supports secrets, other platforms and registry caches."""
        return self is not Builder.CLASSIC


@dataclass(frozen=True, kw_only=True)
class BuildSpec:
    """The inputs of an image build."""

    name: str
    image: str
    context: Path
    dockerfile: Path
    builder: Builder
    target: str | None = None
    platform: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    cache_from: tuple[str, ...] = ()


def build(spec: BuildSpec, secrets: Mapping[str, str], deadline: float) -> Command:
    """Build an image into the engine. `secrets`: a file by id."""
    options = ["--tag", spec.image, "--file", str(spec.dockerfile), "--label", f"{LABEL}={spec.name}"]
    if spec.target:
        options += ["--target", spec.target]
    if spec.platform:
        options += ["--platform", spec.platform]
    for name, value in sorted(spec.args.items()):
        options += ["--build-arg", f"{name}={value}"]
    for name, path in sorted(secrets.items()):
        options += ["--secret", f"id={name},src={path}"]
    for image in spec.cache_from:
        options += ["--cache-from", image]
    options += ["--progress", "plain"] if spec.builder.is_buildkit else ["--force-rm"]  # a failed build leaves nothing
    if spec.builder is Builder.BUILDX:
        options.append("--load")  # a custom builder would not load the image into the engine
    return Command(
        argv=("docker", "build", *options, str(spec.context)),
        env={"DOCKER_BUILDKIT": "1" if spec.builder.is_buildkit else "0"},
        deadline=deadline,
    )


def push(image: str, deadline: float) -> Command:
    """Push an image; layers that the registry has are skipped."""
    return Command(argv=("docker", "push", image), deadline=deadline)


def remote_manifest(image: str, *, insecure: bool) -> Command:
    """Whether a registry has a tag, using docker's login: code 0 if it has."""
    flag = ("--insecure",) if insecure else ()
    return Command(argv=("docker", "manifest", "inspect", *flag, image), deadline=5.0, ok=(0, 1))


def known_images(refs: tuple[str, ...]) -> Command:
    """Ids, names and digests of those images that the engine has; missing ones only change the code."""
    shown = '{"id":{{json .Id}},"tags":{{json .RepoTags}},"digests":{{json .RepoDigests}}}'
    return Command(argv=("docker", "image", "inspect", "--format", shown, *refs), ok=(0, 1))


class Progress:
    """Reports the progress of a build, and collects what is needed to explain a failure."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.step = 0
        """Number of the current instruction of the classic builder."""
        self.resolved: dict[str, str] = {}
        """Digests of base images that BuildKit has resolved, by their full names."""

    def line(self, text: str) -> None:
        """Process one line of output."""
        if match := _STEP.match(text):
            self.step = int(match[1])
            self._say(f"{match[1]}/{match[2]} {match[3]}")
        elif match := _STAGE.match(text):
            self._say(match[1])
        if match := _RESOLVED.match(text):
            self.resolved[parse(match[1]).full] = match[2]


class Layers:
    """Counts the layers of a push or a pull: without a terminal docker prints only their states."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._states: dict[str, str] = {}

    @property
    def pulled(self) -> frozenset[str]:
        """Layers that were not present before, each by the start of its digest."""
        return frozenset(layer for layer, state in self._states.items() if state == "Pull complete")

    def line(self, text: str) -> None:
        """Process one line of output."""
        if match := _LAYER.match(text.strip()):
            self._states[match[1]] = match[2]
            done = sum(state.startswith(_DONE) for state in self._states.values())
            self._say(f"{done} of {len(self._states)} layers")


def _line(all_of: Sequence[Instruction], message: str, step: int) -> int | None:
    """The line of the failed instruction: found by number for the classic builder, by text for BuildKit."""
    if step:
        return all_of[step - 1].line
    if match := _AT_LINE.search(message):
        return int(match[1])
    match = _FAILED.search(message)
    found = [each.line for each in all_of if match and str(each).split() == match[1].split()]
    return found[0] if len(found) == 1 else None


def failed(spec: BuildSpec, error: CommandFailed, step: int) -> CommandFailed:
    """The failure of a build with the line of its Dockerfile, and the last lines of that instruction's output.

    `step`: the current instruction of the classic builder, which prints the output to stdout and the error to
    stderr; BuildKit prints everything to stderr.
    """
    done, message = error.done, error.done.err
    if not spec.builder.is_buildkit:
        message = f"{done.out}\n{_DEPRECATED.sub('', message)}"
    all_of: list[Instruction] = []
    line = None
    with contextlib.suppress(OSError, IndexError):
        all_of = instructions(spec.dockerfile.read_bytes().decode("utf-8", "replace"))
        line = _line(all_of, message, step)
    found = CommandFailed(replace(done, out="", err=message))
    found.diagnosis = error.diagnosis
    at = f" at {spec.dockerfile.name}:{line}" if line else ""
    short = last_line(replace(done, out="", err=_NOISE.sub("", message)))
    found.amend(what=f"the build of '{spec.name}' failed{at}: {short}")
    if "unknown instruction" in message and any(each.heredoc for each in all_of):
        why = "the engine's own version of BuildKit does not support here-documents"
        found.amend(why=why, fix="make `# syntax=docker/dockerfile:1` the first line of the Dockerfile")
    return found
