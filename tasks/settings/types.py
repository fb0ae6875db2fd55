"""Mappings and lists that stay as they are: the tree is shared by plans, threads and records.

They are still dict and list, so that JSON, equality and isinstance know them; a copy may be changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from tasks.settings import words
from tasks.settings.words import as_amount, as_bool, as_memory, as_number, as_whole, as_words, dns_label


def _refuse(_self: object, *_given: object, **_named: object) -> NoReturn:
    raise TypeError("settings do not change; copy what you want to change")


class FrozenDict(dict[str, Any]):
    """A mapping that refuses to be changed."""

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, _memo: object) -> dict[str, Any]:
        return {key: thawed(value) for key, value in self.items()}

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (thawed(self),)


class FrozenList(list[Any]):
    """A list that refuses to be changed."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __deepcopy__(self, _memo: object) -> list[Any]:
        return [thawed(value) for value in self]

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (thawed(self),)


def frozen(value: Any) -> Any:  # noqa: ANN401 - any JSON value, and the same kind comes back
    """The same value, unchangeable all the way down."""
    if isinstance(value, dict):
        return FrozenDict({key: frozen(inner) for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return FrozenList(frozen(inner) for inner in value)
    return value


def thawed(value: Any) -> Any:  # noqa: ANN401 - as above
    """A copy that may be changed."""
    if isinstance(value, dict):
        return {key: thawed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [thawed(inner) for inner in value]
    return value


@dataclass(frozen=True, slots=True)
class Says:
    """What a value must be, in words that follow `must be`."""

    text: str


Spelled = Literal["true", "false", "yes", "no", "on", "off"]
Bool = Annotated[bool, BeforeValidator(as_bool, json_schema_input_type=bool | Spelled), Says("true or false")]
Whole = Annotated[int, BeforeValidator(as_whole), Says("a whole number")]
Number = Annotated[float, BeforeValidator(as_number), Says("a number")]
Cpus = Annotated[Number, Field(ge=0.01, le=1024)]
Memory = Annotated[str, BeforeValidator(as_memory, json_schema_input_type=str | int), Says("a size such as 1.5G")]
PortNumber = Annotated[Whole, Field(ge=1, le=65535), Says("a port")]
Seconds = Annotated[Number, Field(gt=0, le=86400)]

Text = Annotated[str, AfterValidator(words.one_line), Says("a text")]
Amount = Annotated[str, BeforeValidator(as_amount, json_schema_input_type=str | float), Says("an amount")]
HostText = Annotated[str, Says("a DNS name")]
VariableText = Annotated[str, Says("a variable's name")]
AnyText = Annotated[str, Says("a text")]
AnyTexts = Annotated[tuple[str, ...], Says("a list of texts, the program first")]
"""What these may be is a rule: see `wording`. A tree that is made by a program is not bound by it."""
Name = Annotated[Text, AfterValidator(dns_label), Says("a name of a-z, 0-9 and -")]
Address = Annotated[Text, AfterValidator(words.ipv4), Says("an IPv4 address")]
Image = Annotated[Text, AfterValidator(words.image), Says("an image")]
HttpUrl = Annotated[Text, AfterValidator(words.http_url), Says("an http(s) address")]
PublicUrl = Annotated[Text, AfterValidator(words.public_url), Says("an http(s) address without a login")]
Variable = Annotated[Text, AfterValidator(words.variable), Says("a variable's name")]

Texts = Annotated[tuple[Text, ...], Says("a list of texts")]
Words = Annotated[
    tuple[Text, ...],
    BeforeValidator(as_words, json_schema_input_type=tuple[str, ...] | str),
    Says("a list of texts, or one text with blanks between them"),
]
OwnNamespaces = Annotated[
    tuple[Annotated[Name, AfterValidator(words.own_namespace)], ...],
    BeforeValidator(as_words, json_schema_input_type=tuple[str, ...] | str),
    Says("a list of names, or one text with blanks between them"),
]
Namespaces = Annotated[
    tuple[Name, ...],
    BeforeValidator(as_words, json_schema_input_type=tuple[str, ...] | str),
    Says("a list of names, or one text with blanks between them"),
]
Images = Annotated[
    tuple[Image, ...],
    BeforeValidator(as_words, json_schema_input_type=tuple[str, ...] | str),
    Says("a list of images, or one text with blanks between them"),
]
Hosts = Annotated[
    tuple[Annotated[Text, AfterValidator(words.registry_host)], ...],
    BeforeValidator(as_words, json_schema_input_type=tuple[str, ...] | str),
    Says("a list of registries, or one text with blanks between them"),
]
Labels = Annotated[
    dict[Annotated[str, AfterValidator(words.label_key)], Annotated[str, AfterValidator(words.label_value)]],
    AfterValidator(frozen),
    Says("a mapping of labels"),
]
Urls = Annotated[
    dict[Annotated[str, AfterValidator(words.repository)], HttpUrl],
    AfterValidator(frozen),
    Says("a mapping of names and addresses"),
]
Variables = Annotated[
    dict[
        Annotated[str, AfterValidator(words.variable)],
        Annotated[str, BeforeValidator(words.as_scalar), AfterValidator(words.argument)],
    ],
    AfterValidator(frozen),
    Says("a mapping of variables"),
]
Free = Annotated[dict[str, Any], AfterValidator(frozen), Says("a mapping")]


def setting(default: Any, text: str, *, env: str | None = None, unit: str | None = None, **more: Any) -> Any:  # noqa: ANN401 - as pydantic's Field
    """A field with its description, and where they exist its variable and unit."""
    extra: dict[str, Any] = {key: value for key, value in (("env", env), ("unit", unit)) if value is not None}
    return Field(default, description=text, json_schema_extra=extra or None, **more)


def section(factory: type[BaseModel], text: str) -> Any:  # noqa: ANN401 - as pydantic's Field
    """A field that holds a tree of its own."""
    return Field(default_factory=factory, description=text)


class Tree(BaseModel):
    """The base of all parts: frozen, no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    KEY: ClassVar[str] = "name"
    """In a list of such parts: the field that identifies one."""

    SHORT: ClassVar[bool] = False
    """Whether a text in such a list stands for a part of which only that field is given."""


class SecretSource(Tree):
    """Where a secret's value comes from: exactly one of the three."""

    env: VariableText | None = setting(None, "A variable of the environment.")
    file: AnyText | None = setting(None, "A file.")
    command: AnyTexts | None = setting(None, "A command whose output it is.")


Sources = Annotated[dict[str, SecretSource], AfterValidator(frozen), Says("a mapping of sources")]
