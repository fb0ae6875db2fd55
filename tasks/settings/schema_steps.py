"""The user's own commands in the tree of settings. What `needs` and `before` may name: see `references`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from tasks.settings import words
from tasks.settings.types import (
    Bool,
    Name,
    Says,
    Seconds,
    Sources,
    Text,
    Tree,
    Variables,
    Whole,
    Words,
    frozen,
    setting,
)
from tasks.settings.words import as_texts

_ARGV = "a list of texts, the program first; or one text, with `shell: true`"


def _argv(value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - any JSON value
    """One text is for a shell, and for nothing else: a list is never taken apart. Raises ValueError."""
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
    tuple[Annotated[str, AfterValidator(words.argument)], ...],
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
    """One command of the user's own, run as a step among those of a launch."""

    name: Name = setting(..., "Name of the step.")
    shell: Bool = setting(False, "`command` and `unless` are texts for `/bin/sh -c`.")
    command: Argv = setting(..., "The program and its arguments; one text with `shell`.")
    needs: Words | None = setting(
        None,
        "What must have ended well first: tasks, releases, builds, manifests and steps, such as `secrets`, "
        "`release:db`, `build:api`, `manifests:deploy/db.yaml`, `step:seed`; the name alone where it is of one thing. "
        "null: the cluster, unless `before` names what comes before that; an empty list: it begins at once.",
    )
    before: Words = setting((), "What must not begin before it has ended well; names as in `needs`.")
    env: Variables = setting(
        {}, "Variables, beside those of this process and KUBECONFIG, CONTEXT, IP and DOMAIN of the cluster."
    )
    secrets: Sources = setting({}, "Variables whose values are secret, by their sources; masked wherever they show.")
    dir: Text = setting(".", "Folder that it runs in, seen from the project's.")
    timeout: Seconds = setting(300.0, "Limit of one attempt.", unit="seconds")
    retries: Whole = setting(0, "How often it is tried again when it fails.", ge=0, le=100)
    wait: Bool = setting(False, "It mostly waits: it takes no place of commands, only one of the waits.")
    unless: Argv | None = setting(None, "A command, run first: when it ends well, there is nothing to do.")
    inputs: Inputs | None = setting(
        None,
        "Files, folders, patterns (`**` for any folders) and mappings of values. While these, the step itself and what "
        "it needs are unchanged since it last ended well in this cluster, it is skipped. null: it runs at each launch.",
    )
    when: Literal["up", "down"] = setting("up", "down: before `invoke down` removes the cluster.")
    enabled: Bool = setting(True, "Leave it out with false.")
