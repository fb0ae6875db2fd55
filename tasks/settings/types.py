"""Types of settings, and the kind of value at each place of the tree: how it merges, what it must be.

Mappings and lists are immutable: the tree is shared by plans, threads and records. They are still dict and list, so
that JSON, equality and isinstance work; a copy may be changed.
"""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache, partial
from typing import Annotated, Any, ClassVar, Literal, NoReturn, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

from tasks.settings import valid
from tasks.settings.valid import as_amount, as_bool, as_memory, as_number, as_seconds, as_whole, as_words, dns_label


def _refuse(_self: object, *_given: object, **_named: object) -> NoReturn:
    raise TypeError("settings are immutable; copy what you want to change")


class FrozenDict(dict[str, Any]):
    """An immutable mapping."""

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, _memo: object) -> dict[str, Any]:
        return {key: thawed(value) for key, value in self.items()}

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (thawed(self),)


class FrozenList(list[Any]):
    """An immutable list."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __deepcopy__(self, _memo: object) -> list[Any]:
        return [thawed(value) for value in self]

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (thawed(self),)


def frozen(value: Any) -> Any:  # noqa: ANN401 - any JSON value, and the same kind comes back
    """The same value, immutable at every level."""
    if isinstance(value, dict):
        return FrozenDict({key: frozen(inner) for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return FrozenList(frozen(inner) for inner in value)
    return value


def thawed(value: Any) -> Any:  # noqa: ANN401 - as above
    """A mutable copy."""
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
Seconds = Annotated[
    float,
    BeforeValidator(as_seconds, json_schema_input_type=float | str),
    Field(gt=0, le=86400),
    Says("a number of seconds, or a duration such as 5m,"),
]

Text = Annotated[str, AfterValidator(valid.one_line), Says("a text")]
Amount = Annotated[str, BeforeValidator(as_amount, json_schema_input_type=str | float), Says("an amount")]
HostText = Annotated[str, Says("a DNS name")]
VariableText = Annotated[str, Says("a variable's name")]
AnyText = Annotated[str, Says("a text")]
AnyTexts = Annotated[tuple[str, ...], Says("a list of texts, the program first")]
"""The values are checked by a rule: see `wording`. A tree created by a program is not bound by it."""
Name = Annotated[Text, AfterValidator(dns_label), Says("a name of a-z, 0-9 and -")]
Address = Annotated[Text, AfterValidator(valid.ipv4), Says("an IPv4 address")]
Image = Annotated[Text, AfterValidator(valid.image), Says("an image")]
NodeImage = Annotated[Text, AfterValidator(valid.node_image), Says("an image")]
HttpUrl = Annotated[Text, AfterValidator(valid.http_url), Says("an http(s) address")]
PublicUrl = Annotated[Text, AfterValidator(valid.public_url), Says("an http(s) address without a login")]
Variable = Annotated[Text, AfterValidator(valid.variable), Says("a variable's name")]

_SPLIT = BeforeValidator(as_words, json_schema_input_type=tuple[str, ...] | str)
_OR_TEXT = ", or one string separated by blanks"
Texts = Annotated[tuple[Text, ...], Says("a list of texts")]
Words = Annotated[tuple[Text, ...], _SPLIT, Says(f"a list of texts{_OR_TEXT}")]
OwnNamespaces = Annotated[
    tuple[Annotated[Name, AfterValidator(valid.own_namespace)], ...], _SPLIT, Says(f"a list of names{_OR_TEXT}")
]
Namespaces = Annotated[tuple[Name, ...], _SPLIT, Says(f"a list of names{_OR_TEXT}")]
Images = Annotated[tuple[Image, ...], _SPLIT, Says(f"a list of images{_OR_TEXT}")]
Hosts = Annotated[
    tuple[Annotated[Text, AfterValidator(valid.registry_host)], ...],
    _SPLIT,
    Says(f"a list of registries{_OR_TEXT}"),
]
Labels = Annotated[
    dict[Annotated[str, AfterValidator(valid.label_key)], Annotated[str, AfterValidator(valid.label_value)]],
    AfterValidator(frozen),
    Says("a mapping of labels"),
]
Urls = Annotated[
    dict[Annotated[str, AfterValidator(valid.repository)], HttpUrl],
    AfterValidator(frozen),
    Says("a mapping of names and addresses"),
]
Variables = Annotated[
    dict[
        Annotated[str, AfterValidator(valid.variable)],
        Annotated[str, BeforeValidator(valid.as_scalar), AfterValidator(valid.argument)],
    ],
    AfterValidator(frozen),
    Says("a mapping of variables"),
]
Free = Annotated[dict[str, Any], AfterValidator(frozen), Says("a mapping")]


def setting(default: Any, text: str, *, env: str | None = None, unit: str | None = None, **more: Any) -> Any:  # noqa: ANN401 - as pydantic's Field
    """A field with its description, and its variable and unit, if any."""
    extra: dict[str, Any] = {key: value for key, value in (("env", env), ("unit", unit)) if value is not None}
    return Field(default, description=text, json_schema_extra=extra or None, **more)


def section(factory: type[BaseModel], text: str) -> Any:  # noqa: ANN401 - as pydantic's Field
    """A field that contains a subtree."""
    return Field(default_factory=factory, description=text)


class Tree(BaseModel):
    """The base of all parts: frozen, no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    KEY: ClassVar[str] = "name"
    """In a list of such parts: the field that identifies one."""

    SHORT: ClassVar[bool] = False
    """Whether a string in such a list stands for a part with only that field."""


class SecretSource(Tree):
    """The source of a secret's value: exactly one of the three."""

    env: VariableText | None = setting(None, "A variable of the environment.")
    file: AnyText | None = setting(None, "A file.")
    command: AnyTexts | None = setting(None, "A command that prints it.")


Sources = Annotated[dict[str, SecretSource], AfterValidator(frozen), Says("a mapping of sources")]


class Kind(Enum):
    """How a layer's value overrides the lower one."""

    SECTION = "section"
    """Names are fixed; each is merged."""
    ITEMS = "items"
    """A list of parts: a list replaces it, a mapping by name changes some of them."""
    TABLE = "table"
    """Free-form names; each value is replaced, null removes it."""
    FREE = "free"
    """Anything below: mappings merge, everything else is replaced, null is a value."""
    LEAF = "leaf"
    """One value, or a list of strings: replaced."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One place of the tree."""

    kind: Kind
    nullable: bool = False
    model: type[Tree] | None = None
    """Of a section, of list items, and of a table's values if they are parts."""
    text: bool = False
    """A string is expected: 1.32 on the command line is not read as a number."""
    says: str = ""
    choices: tuple[str, ...] = ()
    low: str = ""
    high: str = ""
    default: Any = None
    required: bool = False
    env: str | None = None
    unit: str | None = None
    meaning: str = ""

    @property
    def expected(self) -> str:
        """What a value must be, for display: `a whole number from 1 to 9, or null`."""
        text = " or ".join(self.choices) if self.choices else self.says
        ends = [f"{self.low}" if self.low else "", f"{self.high}" if self.high else ""]
        if all(ends) and not self.low.startswith("more"):
            text += f" from {self.low} to {self.high}"
        elif any(ends):
            text += " of " + " and ".join(end if end.startswith("more") else f"at most {end}" for end in ends if end)
        return f"{text}, or null" if self.nullable else text


@cache
def fields(model: type[Tree]) -> Mapping[str, Spec]:
    """The places below a part, in order."""
    return {name: _field(info) for name, info in model.model_fields.items()}


def place_of(model: type[Tree]) -> Spec:
    """The place of a part itself."""
    return Spec(kind=Kind.SECTION, model=model, says="a mapping")


def below(spec: Spec, name: str) -> Spec | None:
    """The place under a name; None if the tree has no such name. In a list of parts every name is valid."""
    if spec.kind is Kind.FREE:
        return spec
    if spec.kind is Kind.ITEMS:
        assert spec.model is not None
        return place_of(spec.model)
    if spec.kind is Kind.TABLE:
        return place_of(spec.model) if spec.model is not None else Spec(kind=Kind.LEAF, text=True, says="a text")
    return fields(spec.model).get(name) if spec.kind is Kind.SECTION and spec.model is not None else None


def places(model: type[Tree], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Spec]]:
    """Every place with a value of its own, with its path; list items are not included."""
    for name, spec in fields(model).items():
        if spec.kind is Kind.SECTION and spec.model is not None:
            yield from places(spec.model, (*path, name))
        else:
            yield (*path, name), spec


def _field(info: FieldInfo) -> Spec:
    spec = _annotated(info.annotation, list(info.metadata))
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    env, unit = extra.get("env"), extra.get("unit")
    return replace(
        spec,
        default=None if info.is_required() else info.default,
        required=info.is_required(),
        env=str(env) if env else None,
        unit=str(unit) if unit else None,
        meaning=info.description or "",
    )


def _annotated(annotation: Any, metadata: list[Any]) -> Spec:  # noqa: ANN401 - any type
    nullable = False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *more = get_args(annotation)
            metadata = [*more, *metadata]
        elif origin in (Union, types.UnionType):
            (annotation,) = (each for each in get_args(annotation) if each is not type(None))
            nullable = True
        else:
            break
    return _plain(annotation, origin, nullable, metadata)


def _plain(annotation: Any, origin: Any, nullable: bool, metadata: list[Any]) -> Spec:  # noqa: ANN401 - any type
    says = next((each.text for each in reversed(metadata) if isinstance(each, Says)), "a mapping")
    made, inside = partial(Spec, nullable=nullable, says=says), get_args(annotation)
    if _is_tree(annotation):
        return made(kind=Kind.SECTION, model=annotation)
    if origin is dict:
        if inside[1] is Any:
            return made(kind=Kind.FREE)
        return made(kind=Kind.TABLE, model=inside[1] if _is_tree(inside[1]) else None)
    if origin is tuple and _is_tree(inside[0]):
        return made(kind=Kind.ITEMS, model=inside[0], says="a list, or a mapping by name")
    if origin is Literal:
        return made(kind=Kind.LEAF, choices=tuple(map(str, inside)), text=True)
    low, high = _range(metadata)
    text = annotation is str or (origin is tuple and "one text" in says)
    return made(kind=Kind.LEAF, text=text, low=low, high=high)


def _range(metadata: list[Any]) -> tuple[str, str]:
    flat = [part for each in metadata for part in (each.metadata if isinstance(each, FieldInfo) else [each])]
    low = high = ""
    for each in flat:
        if (value := getattr(each, "ge", None)) is not None:
            low = f"{value:g}"
        if (value := getattr(each, "gt", None)) is not None:
            low = f"more than {value:g}"
        if (value := getattr(each, "le", None)) is not None:
            high = f"{value:g}" if value < 1_000_000 else str(value)
    return low, high


def _is_tree(annotation: Any) -> bool:  # noqa: ANN401 - any type
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
