"""`invoke prepull`: images that the engine itself needs, pulled concurrently."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from tasks.core.errors import LaunchError
from tasks.core.imageref import parse
from tasks.core.units import megabytes
from tasks.engine.step import Context, Report, Retry, Step
from tasks.engine.work import PullImage
from tasks.run.task import run_part, task
from tasks.settings.derived import DOWNLOAD, pull_name

if TYPE_CHECKING:
    from tasks.facts.facts import Facts
    from tasks.run.session import Session

TASK = "prepull"


@task("profile", "set", "engine", "keep_going", query_ahead=True)
def prepull(session: Session) -> int:
    """Pull the images that the engine needs, concurrently."""
    return run_part(session, TASK, single_steps, lock=False, shared=True)


def single_steps(facts: Facts) -> list[Step]:
    """The steps of this task alone: running caches are used."""
    from tasks.run.images import sources

    running = {name for name, each in facts.registries.items() if each.running}
    return steps(facts, caches={image: each for image, each in sources(facts).items() if each[0] in running})


def only_listed(facts: Facts) -> frozenset[str]:
    """Images that are pulled only because `images` names them: a launch creates no container from them."""
    settings = facts.settings
    made = {facts.shape.image, settings.registries.image}
    made |= {image for image in (settings.cluster.tools_image, settings.cluster.loadbalancer_image) if image}
    return frozenset(settings.images) - made


def steps(
    facts: Facts,
    *,
    needed: frozenset[str] | None = None,
    caches: Mapping[str, tuple[str, str]] | None = None,
) -> list[Step]:
    """A step for each image; `needed`: the images that something requires, the others are skipped.

    `caches`: for images that are pulled through a cache, its container, and the step after which it runs.
    """
    found = []
    through = caches or {}
    for image, there in facts.images.items():
        skip = "already pulled" if there else None
        if skip is None and needed is not None and image not in needed:
            skip = "what needs it already exists"
        found.append(
            Step(
                name=pull_name(image),
                task=TASK,
                kind=DOWNLOAD,
                wait=True,  # the engine works, mostly limited by the network; the bound of downloads applies
                action=partial(_pull, facts, image, through[image][0] if image in through else None),
                needs=(through[image][1],) if image in through and skip is None else (),
                skip=skip,
                deadline=facts.settings.timeouts.pull,
                retry=Retry(attempts=4, first=1.0, cap=15.0),
                why=f"the engine has it for {facts.other_platforms[image]} only"
                if image in facts.other_platforms
                else "the engine does not have it",
                expected=10.0,
                work=_work(facts, image),
            )
        )
    return found


def _work(facts: Facts, image: str, brought: int = 0) -> PullImage:
    return PullImage(image=image, node=image == facts.shape.image, bytes=brought)


def _pull(facts: Facts, image: str, cache: str | None, context: Context) -> Report | None:
    """Through a cache, so that the cache has it afterwards; if that fails, from the registry itself."""
    if facts.bundle is not None:
        from tasks.run.bundle_load import load_image

        return load_image(facts, image, context)
    from tasks.process.command import CommandFailed

    try:
        brought = _through(facts, image, cache, context) if cache is not None else None
        if brought is None:
            _pull_as(facts, image, context)
    except CommandFailed as error:
        if image in facts.other_platforms:
            there = facts.other_platforms[image]
            known = f"the existing one is for {there}, and the engine's platform is {facts.platform}"
            error.amend(why="; ".join(filter(None, (error.why, known))))
        raise
    other = _other_platform(facts, image, context)
    if other and image not in only_listed(facts):
        raise LaunchError(
            f"{image} is for {other}, and the engine's platform is {facts.platform}",
            why="containers of this launch are created from it, and k3s does not run under emulation",
            fix="choose a tag or a digest that is built for it: docker manifest inspect lists the available ones",
        )
    how = "pulled" if brought is None else f"through {cache}{f', {megabytes(brought)}' if brought else ''}"
    why = f"{how}; it exists for {other} only" if other else how
    return Report(why=why, exit_code=0, work=_work(facts, image, brought or 0))


def _other_platform(facts: Facts, image: str, context: Context) -> str:
    """The platform of a pulled image, if it is not the engine's: docker only prints a warning."""
    from tasks.clients import docker

    if not facts.platform:
        return ""
    out = facts.programs.run(docker.images([image]), context, quiet=True).out
    there = docker.platforms(out, [image]).get(image, "")
    return "" if docker.fits(there, facts.platform) else there


def _pull_as(facts: Facts, name: str, context: Context) -> frozenset[str]:
    """Pulled layers, each by the beginning of its digest."""
    from tasks.clients import docker
    from tasks.clients.docker_build import Layers
    from tasks.diagnose.command import run_command

    layers = Layers(context.say)
    run_command(
        facts.programs,
        docker.pull(name, facts.settings.timeouts.pull, facts.platform),
        context,
        listen=layers.line,
    )
    return layers.pulled


def _through(facts: Facts, image: str, cache: str, context: Context) -> int | None:
    """Bytes pulled, 0 if unknown; None: it could not be pulled through that cache."""
    from tasks.clients import docker
    from tasks.diagnose.command import run_command
    from tasks.facts.registries import port_of
    from tasks.process.command import CommandFailed, DeadlinePassed
    from tasks.run.images import layers_of, local, remember_size

    port = port_of(facts, cache)
    if port is None:
        return None
    name = local(parse(image), port)
    try:
        pulled = _pull_as(facts, name, context)
        run_command(facts.programs, docker.tag(name, image), context)
        run_command(facts.programs, docker.untag(name), context)
    except DeadlinePassed:
        raise  # the step's deadline has passed
    except CommandFailed as error:
        context.say(f"not through {cache}: {error.what}")
        return None
    sizes = layers_of(facts, image, port, context) if pulled else {}
    brought = sum(size for digest, size in sizes.items() if digest.removeprefix("sha256:")[:12] in pulled)
    remember_size(facts, image, brought)
    return brought
