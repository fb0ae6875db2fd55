"""What the tree is made of: the types of its values, each with the words that say what it must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from tasks.settings import names
from tasks.settings.frozen import frozen
from tasks.settings.values import as_amount, as_bool, as_memory, as_number, as_whole, as_words, dns_label


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

Text = Annotated[str, AfterValidator(names.one_line), Says("a text")]
Amount = Annotated[str, BeforeValidator(as_amount, json_schema_input_type=str | float), Says("an amount")]
HostText = Annotated[str, Says("a DNS name")]
VariableText = Annotated[str, Says("a variable's name")]
AnyText = Annotated[str, Says("a text")]
AnyTexts = Annotated[tuple[str, ...], Says("a list of texts, the program first")]
"""What these may be is a rule: see `wording`. A tree that is made by a program is not bound by it."""
Name = Annotated[Text, AfterValidator(dns_label), Says("a name of a-z, 0-9 and -")]
Address = Annotated[Text, AfterValidator(names.ipv4), Says("an IPv4 address")]
Image = Annotated[Text, AfterValidator(names.image), Says("an image")]
HttpUrl = Annotated[Text, AfterValidator(names.http_url), Says("an http(s) address")]
PublicUrl = Annotated[Text, AfterValidator(names.public_url), Says("an http(s) address without a login")]
Variable = Annotated[Text, AfterValidator(names.variable), Says("a variable's name")]

Texts = Annotated[tuple[Text, ...], Says("a list of texts")]
Words = Annotated[
    tuple[Text, ...],
    BeforeValidator(as_words, json_schema_input_type=tuple[str, ...] | str),
    Says("a list of texts, or one text with blanks between them"),
]
OwnNamespaces = Annotated[
    tuple[Annotated[Name, AfterValidator(names.own_namespace)], ...],
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
    tuple[Annotated[Text, AfterValidator(names.registry_host)], ...],
    BeforeValidator(as_words, json_schema_input_type=tuple[str, ...] | str),
    Says("a list of registries, or one text with blanks between them"),
]
Labels = Annotated[
    dict[Annotated[str, AfterValidator(names.label_key)], Annotated[str, AfterValidator(names.label_value)]],
    AfterValidator(frozen),
    Says("a mapping of labels"),
]
Urls = Annotated[
    dict[Annotated[str, AfterValidator(names.repository)], HttpUrl],
    AfterValidator(frozen),
    Says("a mapping of names and addresses"),
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
    """In a list of such parts: the field that tells them apart."""

    SHORT: ClassVar[bool] = False
    """Whether a text in such a list stands for a part of which only that field is given."""
