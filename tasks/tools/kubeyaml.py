"""Kubeconfigs as YAML: what is read is written again so that kubectl reads the same.

PyYAML and kubectl (go-yaml) differ in what a plain scalar is. PyYAML takes the token 12:30:45 for a number of base 60,
and would write 45045; it takes "1e5" for a text that needs no quotes, and kubectl would read a number. So what is no
text is kept as it was written, and a text that begins like a number, or is a word for true or false, gets quotes.

Comments are lost, as they are when kubectl itself writes the file.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yaml import SafeDumper, SafeLoader, ScalarNode

_AS_WRITTEN = ("bool", "int", "float", "timestamp")
_FLAGS = frozenset({"true", "false"})
_NO_TEXT = re.compile(r"[-+.]?[0-9]|[-+]?\.|(?:y|n|yes|no|on|off|true|false|null|~|)$", re.IGNORECASE)
"""How plain scalars begin that some reader of YAML takes for something else than a text."""


class Written(str):
    """A plain scalar that is no text, as it was written; `tag` is what YAML takes it for."""

    __slots__ = ("tag",)
    tag: str


def load(text: str) -> Any:  # noqa: ANN401 - any YAML document
    """One document; raises `yaml.YAMLError`."""
    import yaml

    try:
        return yaml.load(text, Loader=_loader())  # noqa: S506 - a subclass of the safe loader
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None


def dump(document: Any) -> str:  # noqa: ANN401 - any YAML document
    """The text of a document, in its order."""
    import yaml

    text: str = yaml.dump(document, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=2**20)
    return text


@cache
def _loader() -> type[SafeLoader]:
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    for kind in _AS_WRITTEN:
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", _read)
    return Loader


@cache
def _dumper() -> type[SafeDumper]:
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(Written, _write)
    Dumper.add_representer(str, _quote)
    return Dumper


def _read(loader: SafeLoader, node: ScalarNode) -> Any:  # noqa: ANN401 - a flag, or a scalar as it was written
    text = str(loader.construct_scalar(node))
    if text.lower() in _FLAGS:
        return text.lower() == "true"
    made = Written(text)
    made.tag = node.tag
    return made


def _write(dumper: SafeDumper, data: Written) -> ScalarNode:
    node: ScalarNode = dumper.represent_scalar(data.tag, str(data))
    return node


def _quote(dumper: SafeDumper, data: str) -> ScalarNode:
    style = "'" if _NO_TEXT.match(data) else None
    node: ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)
    return node
