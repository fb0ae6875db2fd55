"""The builds' part of the tree of settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from tasks.settings import words
from tasks.settings.types import (
    Bool,
    Images,
    Name,
    Says,
    Seconds,
    Sources,
    Text,
    Tree,
    Variables,
    setting,
)


class Build(Tree):
    """One image, built from a folder by `docker build` and pushed."""

    name: Name = setting(..., "Name of the build.")
    image: Annotated[Text, AfterValidator(words.image_repository), Says("an image without a tag")] | None = setting(
        None,
        "Repository of the image, without a tag; null: the build's name. It goes to the push registry, or, where it "
        "begins with a registry's name such as ghcr.io/, to that one, by your login.",
    )
    context: Annotated[Text, AfterValidator(words.folder), Says("a folder")] = setting(
        ".", "Folder that docker gets, less what .dockerignore leaves out."
    )
    dockerfile: Text = setting("Dockerfile", "The Dockerfile, seen from the context.")
    target: Text | None = setting(None, "Stage to build; null: the last one.")
    args: Variables = setting({}, "Values of ARG, by name; no secrets: they stay in the image's history.")
    secrets: Sources = setting({}, "Sources of what `RUN --mount=type=secret,id=…` gets, by id; needs BuildKit.")
    platform: Annotated[Text, AfterValidator(words.platform), Says("a platform")] | None = setting(
        None, "Platform, such as linux/arm64; null: the engine's own. Another one needs BuildKit."
    )
    cache_from: Images = setting((), "Images whose layers are used again; with BuildKit ones in a registry, too.")
    timeout: Seconds = setting(1800.0, "Limit of the build.", unit="seconds")
    enabled: Bool = setting(True, "Leave it out with false.")

    @property
    def repository(self) -> str:
        """The image without a tag, as it is configured."""
        return self.image or self.name
