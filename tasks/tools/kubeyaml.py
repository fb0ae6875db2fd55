"""Kubeconfigs as YAML: what is read is written again so that kubectl reads the same.

The writer of PyYAML and kubectl (go-yaml) differ in what a plain scalar is: PyYAML takes the text "1e5" for one that
needs no quotes, and kubectl would read a number. So what is no text is kept as it was written, and a text that begins
like a number, or is a word for true or false, gets quotes.

Comments are lost, as they are when kubectl itself writes the file.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yaml import SafeDumper, ScalarNode

_TAGS = frozenset({None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))})
_FLAGS = frozenset({"true", "false"})
_NO_TEXT = re.compile(r"[-+.]?[0-9]|[-+]?\.|(?:y|n|yes|no|on|off|true|false|null|~|)$", re.IGNORECASE)
"""How plain scalars begin that some reader of YAML takes for something else than a text."""


class Written(str):
    """A plain scalar that some reader takes for more than a text, as it was written."""

    __slots__ = ()


def load(text: str) -> Any:  # noqa: ANN401 - any YAML document
    """One document; raises `YamlError`, also for a tag that would be lost when it is written again."""
    from tasks.core import yaml

    for event in yaml.events(text):
        if getattr(event, "tag", None) not in _TAGS:
            raise yaml.YamlError(f"the tag {event.tag} is not known here", line=event.start_mark.line + 1)
    return yaml.load(text, plain=_plain)


def dump(document: Any) -> str:  # noqa: ANN401 - any YAML document
    """The text of a document, in its order."""
    import yaml

    text: str = yaml.dump(document, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=2**20)
    return text


@cache
def _dumper() -> type[SafeDumper]:
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(Written, _write)
    Dumper.add_representer(str, _quote)
    return Dumper


def _plain(text: str) -> Any:  # noqa: ANN401 - nothing, a flag, or a scalar as it was written
    from tasks.core.yaml import scalar

    value = scalar(text)
    if value is None or text.lower() in _FLAGS:
        return value
    return Written(text) if _NO_TEXT.match(text) else text


def _write(dumper: SafeDumper, data: Written) -> ScalarNode:
    import yaml

    resolver: Any = dumper
    tag = resolver.resolve(yaml.ScalarNode, str(data), (True, False))  # the one that lets it stand without quotes
    node: ScalarNode = dumper.represent_scalar(tag, str(data))
    return node


def _quote(dumper: SafeDumper, data: str) -> ScalarNode:
    style = "'" if _NO_TEXT.match(data) else None
    node: ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)
    return node
