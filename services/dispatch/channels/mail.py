"""An e-mail as bytes: multipart/alternative with a text and an HTML part, ready for SMTP's DATA.

The standard library's message classes parse and fold every header anew for each message, which
costs more than sending it. What varies here is little, so the bytes are put together directly:
every value that comes from outside is either encoded (RFC 2047, base64) or has been checked to be
plain printable ASCII, so that no value can end its header.
"""

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import format_datetime, getaddresses
from html import escape

from services.dispatch.channels.port import Outgoing
from shared.address import email_address
from shared.errors import ConfigurationError
from shared.ids import derived_id
from shared.templates import Rendered

_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")
_BODY_TAG = re.compile(r"<body\b[^>]*>", re.IGNORECASE)
_WORD = 39
"""Bytes in one encoded word: with `Subject: ` before it, no line is longer than 76."""
_LINE = 76
_LONGEST_LINE = 990
_CRLF, _LF = "\r\n", "\n"


@dataclass(frozen=True, slots=True)
class Sender:
    header: str
    address: str
    domain: str


def address_of(text: str | None) -> tuple[str, str]:
    """Name (perhaps empty) and address of `channels.email.from`; raises ConfigurationError."""
    found = getaddresses([text or ""])
    name, address = found[0] if len(found) == 1 else ("", "")
    address = email_address(address) or ""
    if not address:
        raise ConfigurationError(
            "the channel email has no usable sender",
            hint='write `from: "Shop <hello@shop.example>"` under channels: email: in dangol.yaml',
        )
    return _one_line(name), address


def sender_of(text: str | None) -> Sender:
    """For a header: encoded where it must be."""
    name, address = address_of(text)
    shown = f"{_phrase(name)} <{address}>" if name else address
    return Sender(shown, address, address.rpartition("@")[2])


def plain_sender(text: str | None) -> str:
    """For an API that encodes by itself."""
    name, address = address_of(text)
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{address}>' if name else address


def subject_of(content: Rendered) -> str:
    return _one_line(content.parts.get("subject", ""))


def html_of(content: Rendered) -> str:
    """The HTML part, with the preheader in it."""
    return _with_preheader(content.body, content.parts.get("preheader", ""))


def build(message: Outgoing, sender: Sender) -> bytes:
    """Lines end in CRLF, none is longer than 998 bytes; dots are not doubled yet."""
    content = message.content
    token = derived_id("mail", message.message_id)
    headers = (
        f"From: {sender.header}\r\n"
        f"To: {message.address}\r\n"
        f"Subject: {_unstructured(subject_of(content))}\r\n"
        f"Date: {format_datetime(message.at)}\r\n"
        f"Message-ID: {message_id(message.message_id, sender)}\r\n"
        f"{_own_headers(message.headers)}"
        f"{_complaints(message.return_path)}"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/alternative;\r\n boundary="{token}"\r\n\r\n'
    ).encode("ascii")
    boundary = f"--{token}".encode()
    return b"".join(
        (
            headers,
            boundary,
            _part("plain", content.text),
            boundary,
            _part("html", html_of(content)),
            boundary,
            b"--\r\n",
        )
    )


def message_id(ours: str, sender: Sender) -> str:
    """The same for every attempt, so that a mailbox that got it twice shows it once."""
    return f"<{derived_id('mail', ours)}@{sender.domain}>"


def _own_headers(headers: Mapping[str, str]) -> str:
    """Names and values of our own making, in printable ASCII; folded by nobody."""
    return "".join(f"{name}: {_one_line(value)}\r\n" for name, value in headers.items())


def _complaints(return_path: str | None) -> str:
    """Where a mailbox provider may send a complaint, and what it gives back (RFC 9477)."""
    if return_path is None:
        return ""
    name, _, domain = return_path.rpartition("@")
    return f"CFBL-Address: fbl@{domain}; report=arf\r\nCFBL-Feedback-ID: {name}\r\n"


def _one_line(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()


def _phrase(text: str) -> str:
    if text.isascii() and "=?" not in text:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return _encoded_words(text)


def _unstructured(text: str) -> str:
    if len(text) <= _LINE - len("Subject: ") and text.isascii() and "=?" not in text:
        return text
    return _encoded_words(text)


def _encoded_words(text: str) -> str:
    raw = text.encode("utf-8", "replace")
    words, start = [], 0
    while start < len(raw):
        end = min(start + _WORD, len(raw))
        while end < len(raw) and raw[end] & 0xC0 == 0x80:  # not within a character
            end -= 1
        words.append(f"=?utf-8?b?{binascii.b2a_base64(raw[start:end], newline=False).decode()}?=")
        start = end
    return "\r\n ".join(words)


def _with_preheader(html: str, preheader: str) -> str:
    if not preheader:
        return html
    hidden = f'<div style="display:none;max-height:0;overflow:hidden">{escape(preheader)}</div>'
    tag = _BODY_TAG.search(html)
    place = tag.end() if tag else 0
    return html[:place] + hidden + html[place:]


def _part(subtype: str, text: str) -> bytes:
    text = text.replace(_CRLF, _LF).replace("\r", _LF)
    head = f"\r\nContent-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: "
    if text.isascii() and "\0" not in text and _lines_fit(text):
        return f"{head}7bit\r\n\r\n{text.replace(_LF, _CRLF)}\r\n".encode()
    return f"{head}base64\r\n\r\n".encode() + _base64_lines(text.encode("utf-8", "replace"))


def _lines_fit(text: str) -> bool:
    return len(text) <= _LONGEST_LINE or max(map(len, text.split(_LF))) <= _LONGEST_LINE


def _base64_lines(raw: bytes) -> bytes:
    coded = binascii.b2a_base64(raw, newline=False)
    return b"".join(coded[i : i + _LINE] + b"\r\n" for i in range(0, len(coded), _LINE))
