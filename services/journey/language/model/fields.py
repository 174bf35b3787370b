"""The kinds of field a workspace file has, read from the located tree.

A field that later passes point at (an id, a template, a condition) stays a `Scalar` with its
place; one that is settled here (a duration, a priority) becomes its value.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainValidator,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from services.journey.language.schema_words import CONDITION, CONDITION_EXAMPLES
from services.journey.language.tree import Mapping, Scalar, Sequence, data
from shared.local_time import known_zones
from shared.urls import checked_url
from shared.workspace import (
    DURATION_SCHEMA,
    SHARE_SCHEMA,
    TIME_SCHEMA,
    Duration,
    TimeOfDay,
    parse_duration,
    parse_share,
)

T = TypeVar("T")
M = TypeVar("M", bound="Located")


class Located(BaseModel):
    """A group of fields that knows its place; unknown fields are refused."""

    # Models name each other in a circle; deferred, each file's schema is built once, as a whole.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    _node: Mapping = PrivateAttr()

    @property
    def node(self) -> Mapping:
        return self._node

    def place(self, node: Mapping) -> None:
        self._node = node

    @model_validator(mode="wrap")
    @classmethod
    def _keep_place(
        cls: type[M], read: Any, handler: ModelWrapValidatorHandler[M], info: ValidationInfo
    ) -> M:
        if isinstance(info.context, dict):
            # By this the problem of an unknown field can name the fields that there are.
            info.context[id(read)] = cls
        model = handler(read)
        if isinstance(read, Mapping):
            model.place(read)
        return model


def mistake(message: str, hint: str = "") -> PydanticCustomError:
    """A problem in our words: the reader of problems takes it over as it is."""
    return PydanticCustomError("dangol", "{message}", {"message": message, "hint": hint})


def text_of(node: object) -> str:
    return _scalar(node).text


def _scalar(node: object) -> Scalar:
    if isinstance(node, Scalar):
        if node.empty or not node.text.strip():
            raise mistake("there is no value here", "write one, or leave the line out")
        return node
    what = "a list" if isinstance(node, Sequence) else "a group of fields"
    raise mistake(f"one value is needed here, not {what}")


def read(parse: Callable[[str], T]) -> Callable[[object], T]:
    """A validator for one scalar, whose ValueError becomes the problem."""

    def validate(node: object) -> T:
        try:
            return parse(text_of(node))
        except ValueError as error:
            raise mistake(str(error)) from error

    return validate


_KEBAB = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_LONGEST_ID = 80


def _kebab(node: object) -> Scalar:
    scalar = _scalar(node)
    text = scalar.text
    if len(text) > _LONGEST_ID:
        raise mistake(f"an id has at most {_LONGEST_ID} characters")
    if not _KEBAB.fullmatch(text):
        better = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
        raise mistake(
            f"`{text[:60]}` is no id: small letters, digits and hyphens",
            f"write `{better}`" if better else "as in `cart-reminder`",
        )
    return scalar


_LONGEST_WORD = 200


def _word(node: object) -> Scalar:
    scalar = _scalar(node)
    if len(scalar.text) > _LONGEST_WORD:
        raise mistake(f"this is longer than {_LONGEST_WORD} characters")
    return scalar


_SIGNED = {"+": 1, "-": -1}


def _signed(text: str) -> timedelta:
    sign, length = (text[0], text[1:]) if text[0] in _SIGNED else ("+", text)
    return parse_duration(length) * _SIGNED[sign]


def _reentry(text: str) -> Literal["always", "never"] | timedelta:
    if text == "always":
        return "always"
    return "never" if text == "never" else parse_duration(text)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise ValueError(f"`{text[:40]}` is no instant: write 2026-03-02T20:00+09:00")
    return instant


def _zone_or_customer(text: str) -> str:
    if text != "customer" and text not in known_zones():
        raise ValueError(f"`{text[:60]}` is no time zone: write Asia/Seoul, or customer")
    return text


def _yes_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"`{text[:40]}` is neither true nor false")
    return text == "true"


def _yes(text: str) -> Literal[True]:
    if text != "true":
        raise ValueError(f"`{text[:40]}` has no meaning here: write true, or leave it out")
    return True


_STRING = {"type": "string"}

Id = Annotated[
    Scalar,
    PlainValidator(_kebab),
    WithJsonSchema(_STRING | {"pattern": f"^{_KEBAB.pattern}$", "maxLength": _LONGEST_ID}),
]
Word = Annotated[
    Scalar,
    PlainValidator(_word),
    # What YAML makes of an unquoted word is no matter: its text is what counts.
    WithJsonSchema({"type": ["string", "number", "boolean"], "maxLength": _LONGEST_WORD}),
]
_OUTSIDE_QUOTES = r"""^(?:"(?:[^"\\]|\\[\s\S])*"|'(?:[^'\\]|\\[\s\S])*'|[^"'&|;{}$])*$"""
"""An expression has no `&&`, `||`, `;`, `{{ }}` or `${ }`."""
Condition = Annotated[
    Scalar,
    PlainValidator(_scalar),
    WithJsonSchema(
        {
            "type": ["string", "boolean", "number"],
            "pattern": _OUTSIDE_QUOTES,
            "description": CONDITION,
            "examples": list(CONDITION_EXAMPLES),
        }
    ),
]
"""An expression: the raw text, whatever YAML would make of it."""
Anything = Annotated[Any, PlainValidator(lambda node: node), WithJsonSchema({})]
"""A node as it is: a literal, or an expression where a step takes one."""
Data = Annotated[Any, PlainValidator(data), WithJsonSchema({})]
Yes = Annotated[
    Literal[True], PlainValidator(read(_yes)), WithJsonSchema({"type": "boolean", "const": True})
]
YesNo = Annotated[bool, PlainValidator(read(_yes_no)), WithJsonSchema({"type": "boolean"})]
Whole = Annotated[int, BeforeValidator(text_of)]
Number = Annotated[float, BeforeValidator(text_of), Field(allow_inf_nan=False)]

Span = Annotated[Duration, BeforeValidator(text_of), WithJsonSchema(DURATION_SCHEMA)]
Offset = Annotated[
    timedelta,
    PlainValidator(read(_signed)),
    WithJsonSchema(
        DURATION_SCHEMA
        | {"pattern": DURATION_SCHEMA["pattern"].replace("^", "^[-+]?", 1), "examples": ["-3d"]}
    ),
]
Clock = Annotated[
    TimeOfDay,
    BeforeValidator(text_of),
    WithJsonSchema(TIME_SCHEMA),
]
ZoneOrCustomer = Annotated[str, PlainValidator(read(_zone_or_customer)), WithJsonSchema(_STRING)]
Share = Annotated[float, PlainValidator(read(parse_share)), WithJsonSchema(SHARE_SCHEMA)]
Reentry = Annotated[
    Literal["always", "never"] | timedelta,
    PlainValidator(read(_reentry)),
    WithJsonSchema({"anyOf": [{"enum": ["always", "never"]}, DURATION_SCHEMA]}),
]
Instant = Annotated[
    datetime, PlainValidator(read(_instant)), WithJsonSchema(_STRING | {"format": "date-time"})
]
Address = Annotated[
    str, PlainValidator(read(checked_url)), WithJsonSchema(_STRING | {"format": "uri"})
]


def one_or_more(node: object) -> object:
    """`else: sms` for `else: [sms]`."""
    return [node] if isinstance(node, Scalar) else node


def kinds_in(node: object, kinds: tuple[str, ...]) -> list[str]:
    return [kind for kind in kinds if kind in node] if isinstance(node, Mapping) else []
