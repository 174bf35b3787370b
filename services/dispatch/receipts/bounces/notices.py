"""A mail that came to the bounce domain, as what it tells. Pure, and total over any bytes.

Delivery status notifications are RFC 3464 in a `multipart/report` (RFC 6522), complaints RFC 5965.
Many are not quite: the parts have other types, fields are missing, or it is only a text (qmail,
old Exim, Korean webmail). What is read is what they have in common. Which mail it is about nobody
needs to say: the address it came to does (`verp.py`).
"""

import email.errors
import email.header
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser, Parser
from email.policy import compat32
from html import unescape
from typing import Literal

import structlog

from services.dispatch.receipts.bounces.verdict import LONGEST, is_hard, says_something

logger = structlog.get_logger()

LONGEST_READ = 256_000
"""Bytes: what a report says stands before the mail that it returns."""
_MOST_BOUNDARIES = 40
_MOST_PARTS = 100
_KOREAN = frozenset({"euc-kr", "ks_c_5601-1987", "ks_c_5601", "ksc5601", "cp949", "uhc"})

_FIELD = re.compile(
    r"^(Final-Recipient|Original-Recipient|Action|Status|Diagnostic-Code)\s*:", re.MULTILINE
)
_FROM_A_SERVER = re.compile(
    r"mailer-daemon|postmaster|mail delivery|mail system|메일 ?시스템", re.IGNORECASE
)
_RETURNED = re.compile(
    r"undeliver|returned (mail|to sender)|failure notice|non.?delivery|mail (delivery )?failed|"
    r"delivery.{0,30}(fail|problem|error)|could not be delivered|"
    r"반송|(전송|배달|발송|전달).{0,4}(실패|불가)|전달되지",
    re.IGNORECASE,
)
_WAITS = re.compile(
    r"delayed|delay notification|will (be )?(retried|keep trying)|warning message only|"
    r"still trying|지연",
    re.IGNORECASE,
)
_OURS_BEGINS = re.compile(
    r"^\W*(this is a copy of|below this line is a copy|(the )?original message|"
    r"returned message|message headers? follow|원본 ?메일|원문)",
    re.IGNORECASE | re.MULTILINE,
)
_TAG = re.compile(r"<[^<>]{0,2000}>")
_COMPLAINTS = frozenset({"abuse", "fraud", "virus", "opt-out", "opt-out-list", "other", ""})


@dataclass(frozen=True, slots=True)
class Notice:
    kind: Literal["bounced", "complained", "other"]
    """`other`: a delay, an answer while somebody is away, a reading receipt, or not readable."""
    text: str = ""
    """All that may name the mail, where the address it came to does not."""
    hard: bool = False
    """Nobody is there."""
    detail: str = ""
    """The server's status, such as `5.1.1`; no words, which may hold an address."""
    returns_mail: bool = False
    """It holds the mail that it is about, or its headers."""


def read_notice(raw: bytes) -> Notice:
    """Never raises."""
    raw = raw[:LONGEST_READ]
    if raw.lower().count(b"boundary=") > _MOST_BOUNDARIES:
        return Notice("other")  # made to be slow to read
    try:
        return _read(BytesParser(policy=compat32).parsebytes(raw))
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        IndexError,
        RecursionError,
    ) as error:
        # The standard library's parser promises not to, and has broken it before.
        logger.warning(
            "a mail cannot be read", action="notice_unreadable", error=type(error).__name__
        )
        return Notice("other")


def _read(message: Message) -> Notice:
    parts = list(_parts(message))
    text = _all_text(message, parts)
    returns = any(_kind(part) in _RETURNS for part in parts)
    feedback = [part for part in parts if _kind(part) == "message/feedback-report"]
    if feedback:
        wanted = _feedback_type(feedback[0]) in _COMPLAINTS
        return Notice("complained" if wanted else "other", text, returns_mail=returns)
    if _kind(message) == "multipart/report" and "disposition" in str(
        message.get_param("report-type", "")
    ):
        return Notice("other", text)
    told = [_told(block) for part in parts for block in _blocks(part)]
    failed = [each for each in told if each is not None and each[0]]
    if failed:
        hard = any(hard for _, hard, _ in failed)
        detail = next((d for _, h, d in failed if h == hard), "")
        return Notice("bounced", text, hard, detail, returns)
    if told:
        return Notice("other", text, returns_mail=returns)
    return _plain(message, parts, text, returns)


_RETURNS = frozenset({"message/rfc822", "text/rfc822-headers", "message/rfc822-headers"})


def _kind(part: Message) -> str:
    return part.get_content_type().lower()


def _parts(message: Message) -> Iterator[Message]:
    """The report's own parts: not those within the mail that it returns."""
    waiting, seen = [message], 0
    while waiting and seen < _MOST_PARTS:
        part = waiting.pop(0)
        seen += 1
        yield part
        payload = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(payload, list):
            waiting.extend(each for each in payload if isinstance(each, Message))


def _all_text(message: Message, parts: list[Message]) -> str:
    """Headers, texts, and the returned mail's headers."""
    found = [f"{name}: {value}" for name, value in message.items()]
    for part in parts:
        if part.get_content_maintype() == "message":
            payload = part.get_payload()
            for inner in payload if isinstance(payload, list) else ():
                if isinstance(inner, Message):
                    found += [f"{name}: {value}" for name, value in inner.items()]
                    found.append(_decoded(inner) if not inner.is_multipart() else "")
        elif not part.is_multipart():
            found.append(_decoded(part))
    return "\n".join(found)


def _decoded(part: Message) -> str:
    raw = part.get_payload(decode=True)
    if not isinstance(raw, bytes):
        return ""
    charset = (part.get_content_charset() or "utf-8").lower()
    if charset in _KOREAN:
        return raw.decode("cp949", "replace")
    try:
        return raw.decode(charset, "replace")
    except (LookupError, ValueError):
        return raw.decode("utf-8", "replace")


def _feedback_type(part: Message) -> str:
    payload = part.get_payload()
    inner = payload[0] if isinstance(payload, list) and payload else None
    if isinstance(inner, Message):
        said = inner.get("Feedback-Type")
        if said is None and not inner.is_multipart():  # it was sent in base64
            said = _fields(_decoded_again(part, inner)).get("Feedback-Type")
        return str(said or "").strip().lower()
    return ""


def _blocks(part: Message) -> list[Message]:
    """Groups of fields about one recipient, whatever type the part calls itself."""
    payload = part.get_payload()
    if _kind(part) == "message/delivery-status" and isinstance(payload, list):
        found = [each for each in payload if isinstance(each, Message)]
        if not any(_is_about_a_recipient(block) for block in found) and found:
            text = "\n\n".join(_decoded_again(part, block) for block in found)
            found = [_fields(each) for each in re.split(r"\n\s*\n", text)]
        return [block for block in found if _is_about_a_recipient(block)]
    if part.is_multipart() or part.get_content_maintype() == "message":
        return []
    text = _decoded(part).replace("\r\n", "\n")
    if len(set(_FIELD.findall(text[:LONGEST_READ]))) < 2:
        return []
    found = [
        _fields(each[each.find(m[0]) :])
        for each in re.split(r"\n\s*\n", text)
        if (m := _FIELD.search(each))
    ]
    return [block for block in found if _is_about_a_recipient(block)]


def _is_about_a_recipient(block: Message) -> bool:
    return sum(name in block for name in ("Action", "Status", "Diagnostic-Code")) >= 1 and (
        "Reporting-MTA" not in block or "Action" in block or "Status" in block
    )


def _decoded_again(part: Message, inner: Message) -> str:
    """Of a part that should stand as it is, and was encoded all the same."""
    whole = Message()
    whole["Content-Transfer-Encoding"] = part.get("Content-Transfer-Encoding", "7bit")
    whole.set_payload(inner.as_string().lstrip("\n"))
    return _decoded(whole).replace("\r\n", "\n")


def _fields(text: str) -> Message:
    return Parser(policy=compat32).parsestr(text.strip() + "\n\n")


def _told(block: Message) -> tuple[bool, bool, str] | None:
    """Whether the delivery failed for good, whether nobody is there, and the status."""
    action = _field(block, "Action").lower()
    status = _field(block, "Status")
    said = _field(block, "Diagnostic-Code")
    number = re.search(r"[245]\.\d{1,3}\.\d{1,3}", said) or re.search(
        r"[245]\.\d{1,3}\.\d{1,3}", status
    )
    detail = number[0] if number else ""
    if not action:
        lasting = status.startswith("5") or re.search(r"(?<!\d)5\d\d[ -]", said) is not None
        return lasting, lasting and is_hard(status, said), detail
    failed = action.startswith("fail")
    return failed, failed and is_hard(status, said), detail


def _field(block: Message, name: str) -> str:
    """In UTF-8, or as Korean servers write: fields should be ASCII, and are not."""
    given = next((v for n, v in block.raw_items() if n.lower() == name.lower()), "")
    raw = str(given)[:LONGEST].encode("utf-8", "surrogateescape")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("cp949", "replace")
    return re.sub(r"\s+", " ", text).strip()


def _plain(message: Message, parts: list[Message], text: str, returns: bool) -> Notice:
    """A bounce without any structure: it must show what it is."""
    subject, sender = _header(message, "Subject"), _header(message, "From")
    named = "X-Failed-Recipients" in message  # Exim
    if _WAITS.search(subject) and not named:
        return Notice("other", text, returns_mail=returns)
    if not (named or _RETURNED.search(subject) or _FROM_A_SERVER.search(sender)):
        return Notice("other", text, returns_mail=returns)
    said = _own_words(parts)
    if _WAITS.search(said) and not named:
        return Notice("other", text, returns_mail=returns)
    if not (named or _RETURNED.search(subject) or says_something(said)):
        return Notice("other", text, returns_mail=returns)
    number = re.search(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.])", said)
    detail = number[0] if number else ""
    return Notice("bounced", text, is_hard(None, said), detail, returns)


def _own_words(parts: list[Message]) -> str:
    """What the server says, without the mail that it quotes behind it."""
    for part in parts:
        if part.get_content_maintype() == "text" and _kind(part) not in _RETURNS:
            text = _decoded(part)
            if _kind(part) == "text/html":
                text = unescape(_TAG.sub(" ", text[: 4 * LONGEST]))
            begins = _OURS_BEGINS.search(text)
            return text[: begins.start() if begins else LONGEST][:LONGEST]
    return ""


def _header(message: Message, name: str) -> str:
    given = str(message.get(name, ""))[:1000]
    try:
        words = email.header.decode_header(given)
    except (email.errors.HeaderParseError, ValueError):
        return given
    found = []
    for word, charset in words:
        if isinstance(word, str):
            found.append(word)
            continue
        known = "cp949" if (charset or "").lower() in _KOREAN else (charset or "utf-8")
        try:
            found.append(word.decode(known, "replace"))
        except (LookupError, ValueError):
            found.append(word.decode("utf-8", "replace"))
    return " ".join(found)
