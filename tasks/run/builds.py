"""The user's own images: built while the cluster starts, and pushed to the registry that its nodes pull from."""

import contextlib
import json
from collections.abc import Collection, Iterable
from functools import partial
from typing import Any

from tasks.clients import docker, docker_build
from tasks.clients.docker_build import BuildSpec, Layers, Progress
from tasks.core.errors import BadInput, LaunchError, attempt
from tasks.core.files import private_file
from tasks.core.imageref import parse, registry_of
from tasks.diagnose.command import run_command
from tasks.engine.step import Context, Report, Retry, Step
from tasks.engine.work import BuildImage, PushImage
from tasks.facts.builds import BuildState, remember_built
from tasks.facts.endpoint import on_this_machine
from tasks.facts.facts import Facts
from tasks.facts.registries import port_of
from tasks.facts.secrets import Empty, sources, value_of
from tasks.process.command import CommandFailed, DeadlinePassed
from tasks.settings.derived import BUILD, PUSH_REGISTRY, build_name, on_push_registry, push_container, push_name

TASK = "build"
_RETRY = Retry(attempts=3, first=1.0, cap=8.0)
_NO_REPOSITORY = ("pull access denied", "insufficient_scope")
"""Docker's and BuildKit's message for a repository that Docker Hub does not have."""


def steps(facts: Facts, only: Collection[BuildState] | None = None) -> list[Step]:
    """Build and push each image that its registry does not have; `only` these."""
    return [step for each in facts.builds if only is None or each in only for step in _steps(facts, each)]


def _steps(facts: Facts, state: BuildState) -> Iterable[Step]:
    yield Step(
        name=build_name(state.build),
        task=TASK,
        kind=BUILD,
        wait=True,  # the engine works; the bound of builds applies
        action=partial(_build, facts, state),
        deadline=state.build.timeout,
        retry=_RETRY,
        skip=f"{'its registry' if state.pushed else 'the engine'} has {state.image}"
        if state.pushed or state.built
        else None,
        why=f"{state.image} is new: its sources have changed, or were never built here",
        expected=10.0,
        work=BuildImage(build=state.name),
    )
    yield Step(
        name=push_name(state.build),
        task=TASK,
        wait=True,  # for the engine and the network
        action=partial(_push, facts, state),
        needs=(
            build_name(state.build),
            *((PUSH_REGISTRY,) if facts.settings.registries.push and _on_this_machine(state) else ()),
        ),
        deadline=facts.settings.timeouts.pull,
        retry=_RETRY,
        skip="already pushed: its sources have not changed" if state.pushed else None,
        why=f"its registry does not have {state.image}",
        expected=1.0,
        work=PushImage(build=state.name),
    )


def _on_this_machine(state: BuildState) -> bool:
    """Whether the target may be the push registry, by its own name or by its port on this machine."""
    return on_push_registry(state.build) or on_this_machine(registry_of(state.repository))


def used(facts: Facts, value: Any) -> list[BuildState]:  # noqa: ANN401 - any JSON value
    """The builds whose images are named in rendered values or objects."""
    text = json.dumps(value, ensure_ascii=False, default=str) if facts.builds else ""
    return [each for each in facts.builds if each.used_in(text)]


def pushed(facts: Facts, value: Any) -> tuple[str, ...]:  # noqa: ANN401 - any JSON value
    """The steps after which the images in values or objects can be pulled."""
    return tuple(push_name(each.build) for each in used(facts, value))


def _spec(state: BuildState) -> BuildSpec:
    build = state.build
    return BuildSpec(
        name=build.name,
        image=state.image,
        context=state.context,
        dockerfile=state.dockerfile,
        builder=state.builder,
        target=build.target,
        platform=build.platform,
        args=build.args,
        cache_from=build.cache_from,
    )


def _build(facts: Facts, state: BuildState, context: Context) -> Report:
    spec, progress = _spec(state), Progress(context.say)
    folder = facts.paths.state.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.ExitStack() as files:
        secrets = {
            name: files.enter_context(private_file(folder, "secret", _secret(facts, state, name)))
            for name in state.build.secrets
        }
        try:
            done = run_command(
                facts.programs, docker_build.build(spec, secrets, state.build.timeout), context, listen=progress.line
            )
        except DeadlinePassed as error:
            raise error.amend(fix=f"raise builds.{state.name}.timeout, or check its log for where it hangs") from None
        except CommandFailed as error:
            raise _explained(facts, state, docker_build.failed(spec, error, progress.step)) from None
    keep = partial(remember_built, facts, state, progress.resolved)
    notes = attempt(f"the sources of the build '{state.name}' could not be recorded", keep)
    return Report(why=state.image, exit_code=done.code, notes=notes)


def _explained(facts: Facts, state: BuildState, error: CommandFailed) -> CommandFailed:
    """The failure of a build, explained if its base is the image of another build: no registry has that by its name."""
    names = {parse(each.build.repository).repository: each.name for each in facts.builds if each is not state}
    for base in state.bases if any(text in error.done.err for text in _NO_REPOSITORY) else ():
        if other := names.get(parse(base).repository):
            error.amend(
                why=f"Docker Hub has no {base}, and the image of your build '{other}' has another name",
                fix="build both from one Dockerfile, a stage for each, and `target`",
            )
    return error


def _secret(facts: Facts, state: BuildState, name: str) -> bytes:
    """Its value; empty in a rehearsal. Raises `BadInput`."""
    if facts.backend.rehearsed:
        return b""
    what = f"the secret '{name}' of the build '{state.name}'"
    given = sources(facts.environ, facts.root, facts.programs, facts.settings.timeouts.command)
    try:
        return value_of(state.build.secrets[name], given, what, "builds")
    except Empty as empty:
        why = str(empty)
    raise BadInput(f"{what} has no value", why=why, fix="set it, or remove it (settings: builds)")


def _push(facts: Facts, state: BuildState, context: Context) -> Report:
    if not on_push_registry(state.build):
        return _pushed(facts, state.image, context)
    port = port_of(facts, push_container(facts.settings))
    if port is None:
        raise LaunchError(
            f"{state.image} cannot be pushed: the push registry is not running",
            why="it is started by `invoke registry`, and by `invoke up`",
            fix="invoke registry",
        )
    # nodes use the registry's container name, the engine its port on loopback
    name = state.image.replace(f"{push_container(facts.settings)}:5000", f"127.0.0.1:{port}", 1)
    run_command(facts.programs, docker.tag(state.image, name), context)
    try:
        return _pushed(facts, name, context)
    finally:
        with contextlib.suppress(LaunchError):
            facts.programs.run(docker.untag(name))


def _pushed(facts: Facts, name: str, context: Context) -> Report:
    command = docker_build.push(name, facts.settings.timeouts.pull)
    done = run_command(facts.programs, command, context, listen=Layers(context.say).line)
    return Report(why=f"to {name.partition('/')[0]}", exit_code=done.code)
