"""What the adapters of text messages and Kakao share: numbers, sizes, variables.

Korean carriers take cp949: what they cannot carry is refused here with the characters named, since
a vendor would refuse it too (SOLAPI 1029), or put question marks in their place.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

import phonenumbers

from services.dispatch.channels.port import Outcome, Outgoing, Result, Setup
from shared.errors import ConfigurationError
from shared.kakao_templates import Approved
from shared.sms import LMS_BYTES, SUBJECT_BYTES, hint_for, size_of
from shared.templates import Rendered

Kind = Literal["SMS", "LMS", "MMS"]
KOREA = "82"
_SEOUL = ZoneInfo("Asia/Seoul")
_VARIABLE = re.compile(r"#\{[^{}\n]{1,40}\}")


@dataclass(frozen=True, slots=True)
class Number:
    country: str
    """The calling code, such as `82`."""
    national: str
    """As it is dialled at home in Korea (`010…`), elsewhere without the country's prefix."""


@dataclass(frozen=True, slots=True)
class Text:
    kind: Kind
    body: str
    title: str
    """Of LMS and MMS, at most 40 bytes in cp949; may be empty."""
    image: str
    """The vendor's id of an image that was uploaded there, or an address; empty without one."""


@lru_cache(maxsize=4096)
def number_of(address: str) -> Number:
    """Of an E.164 number, as `shared.address` makes them."""
    parsed = phonenumbers.parse(address)
    significant = phonenumbers.national_significant_number(parsed)
    country = str(parsed.country_code)
    return Number(country, f"0{significant}" if country == KOREA else significant)


def korean_number(message: Outgoing) -> str | Result:
    """As it is dialled at home: Kakao knows no others."""
    number = number_of(message.address)
    if number.country == KOREA:
        return number.national
    return _refused(f"Kakao is reached by Korean numbers alone, not by +{number.country}")


def digits(number: str) -> str:
    """`02-123-4567` → `021234567`: as Korean vendors want sender numbers."""
    return "".join(sign for sign in number if sign.isdecimal())


def text_of(content: Rendered) -> Text | Result:
    """The text message that a template makes, or why no Korean carrier takes it.

    SMS up to 90 bytes of cp949, LMS up to 2,000; with the front matter's `image`, MMS. The title
    of a longer message is the front matter's `title` (or `subject`).
    """
    body = content.text.strip()
    title = content.parts.get("title") or content.parts.get("subject", "")
    image = content.parts.get("image", "")
    size, head = size_of(body), size_of(title)
    unsendable = tuple(dict.fromkeys((*size.unsendable, *head.unsendable)))
    if unsendable:
        signs = " ".join(unsendable)
        return _refused(f"Korean carriers cannot carry {signs}: {hint_for(unsendable)}")
    if not body:
        return _refused("the text is empty")
    if size.kind == "too long":
        return _refused(f"{size.bytes:,} bytes in cp949: a text carries at most {LMS_BYTES:,}")
    if head.bytes > SUBJECT_BYTES:
        return _refused(f"the title has {head.bytes} bytes in cp949, at most {SUBJECT_BYTES}")
    return Text("MMS" if image else size.kind, body, title, image)


def first_line(text: Text) -> str:
    """The title, or as much of the first line as a title carries, for vendors that ask for one."""
    if text.title:
        return text.title
    line = text.body.splitlines()[0].strip()
    return line.encode("cp949", "ignore")[:SUBJECT_BYTES].decode("cp949", "ignore")


def variables_of(content: Rendered, approved: Approved | None = None) -> dict[str, str] | Result:
    """The values for a registered Kakao template: the front matter's parts named `#{…}`.

    Empty where the body is the whole text, which must then be the approved wording, where that is
    known. A variable of the body without a value is refused: the vendor would refuse it too, or
    show the customer `#{…}`.
    """
    given = {name: value for name, value in content.parts.items() if _VARIABLE.fullmatch(name)}
    used = list(dict.fromkeys(_VARIABLE.findall(content.text)))
    missing = [name for name in used if name not in given]
    if missing:
        return _refused(
            f"{', '.join(missing)} has no value: add a part of that name to the front matter"
        )
    empty = [name for name in used if not given[name]]
    if empty:
        return _refused(f"{', '.join(empty)} is empty for this customer")
    if not given and approved is not None and not approved.says(content.text):
        return _refused("this is not the wording that Kakao has approved")
    return given


def whole_text(content: Rendered, variables: Mapping[str, str]) -> str:
    """The body as the customer reads it."""
    return _VARIABLE.sub(lambda found: variables.get(found[0], found[0]), content.text.strip())


def template_code_of(content: Rendered) -> str | Result:
    code = content.parts.get("template_code", "")
    return code or _refused("the front matter has no `template_code`, the code of the approved one")


def registered_of(message: Outgoing) -> tuple[str, dict[str, str]] | Result:
    """The code of the AlimTalk's registered template and the values for it; see `variables_of`."""
    code = template_code_of(message.content)
    if isinstance(code, Result):
        return code
    variables = variables_of(message.content, message.approved)
    return variables if isinstance(variables, Result) else (code, variables)


def bare_names(variables: dict[str, str]) -> dict[str, str]:
    """`#{name}` → `name`, for vendors that want it so."""
    return {name.removeprefix("#{").removesuffix("}"): v for name, v in variables.items()}


def key_of(message: Outgoing) -> str:
    """The idempotency key: that of the attempt which this one repeats, else one of its own, since
    vendors remember what they have refused as well."""
    return f"{message.message_id}-{message.repeats or message.attempt}"


def says_nobody(said: str) -> bool:
    """Whether a vendor's words say that the number does not exist (결번), where it has no code for
    it: every other failure says nothing of the address."""
    return any(word in said.replace(" ", "") for word in ("결번", "없는번호", "가입자없음"))


def until_morning(now: datetime) -> timedelta:
    """Until 08:00 in Korea, when Kakao takes advertising again."""
    there = now.astimezone(_SEOUL)
    morning = there.replace(hour=8, minute=0, second=0, microsecond=0)
    if morning <= there:
        morning += timedelta(days=1)
    return morning - there


def option(setup: Setup, name: str, what: str) -> str:
    """A text option of the channel in `dangol.yaml`; raises ConfigurationError."""
    value = setup.settings.options.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(
            f"the channel {setup.channel} has no `{name}`: {what}",
            hint=f"add `{name}: …` to the channel in dangol.yaml",
        )
    return value.strip()


def sender_of(setup: Setup) -> str:
    """`from`: the registered number (발신번호); raises ConfigurationError."""
    sender = setup.settings.sender
    if not sender or not digits(sender):
        raise ConfigurationError(
            f"the channel {setup.channel} has no `from`: the registered number it sends from",
            hint='add `from: "02-123-4567"` to the channel in dangol.yaml, in quotes',
        )
    return digits(sender)


def is_ad(message: Outgoing) -> bool:
    return message.category == "marketing"


def _refused(why: str) -> Result:
    return Result(Outcome.REJECTED_MESSAGE, detail=why)
