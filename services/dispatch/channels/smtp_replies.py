"""What an SMTP reply, or a lost conversation, means.

Of a reply the enhanced status is read first, then the basic code. Documents: RFC 3463 and IANA's
registry of enhanced status codes; RFC 5321 section 4.2.3 for basic codes; RFC 4954 section 6 for
authentication; RFC 7505 for domains that take no mail; RFC 7372 for 5.7.20 to 5.7.26; Gmail's own
use of 4.2.1, 4.7.x and 5.7.x in "Gmail SMTP errors and codes".
"""

import re
import ssl
from typing import Literal, NamedTuple

from aiosmtplib import errors

from services.dispatch.channels.port import Outcome

Stage = Literal["greeting", "mail", "rcpt", "data", "dot"]
"""What was answered; `dot` is the end of the mail's content."""


class Reply(NamedTuple):
    stage: Stage
    code: int
    text: str

    @property
    def success(self) -> bool:
        return self.stage == "dot" and self.code == 250


class Progress:
    """How far one mail has come."""

    connected = False
    handed_over = False
    """The final dot has been written, and not been answered."""


_ENHANCED = re.compile(r"(?:^|[\s#(<])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")

_NOBODY_THERE = frozenset(
    {
        "5.1.1",  # RFC 3463: bad destination mailbox address
        "5.1.2",  # RFC 3463: bad destination system address
        "5.1.3",  # RFC 3463: bad destination mailbox address syntax
        "5.1.6",  # RFC 3463: the mailbox has moved, no forwarding address
        "5.1.10",  # RFC 7505: the domain takes no mail (null MX)
        "5.2.1",  # RFC 3463: mailbox disabled
        "5.4.1",  # Exchange Online, "Fix NDR error 550 5.4.1": no such recipient
    }
)
_FULL = frozenset({"5.2.2", "4.2.2"})  # RFC 3463: mailbox full, may be emptied again
_TOO_FAST = frozenset({"4.2.1"})  # Gmail: the recipient gets mail at too high a rate
_AT_A_RATE = re.compile(r"receiving mail at a rate|mail too quickly", re.IGNORECASE)
"""Gmail says so with 5.2.1, too, which elsewhere is a mailbox that has been disabled."""
_CREDENTIALS = frozenset({454, 530, 534, 535, 538})  # RFC 4954 section 6, RFC 3207 section 4
_NO_SUCH_MAILBOX = frozenset({550, 551})  # RFC 5321 section 4.2.3, in answer to RCPT


def enhanced(text: str) -> str | None:
    found = _ENHANCED.search(text)
    return ".".join(str(int(part)) for part in found.groups()) if found else None


def nobody_is_there(status: str, text: str) -> bool:
    """Whether an enhanced status, with the words beside it, says that the address is nobody's."""
    return status in _NOBODY_THERE and not _AT_A_RATE.search(text)


def outcome_of(reply: Reply) -> Outcome:
    """The meaning of a reply that is no success. Total."""
    stage, code, text = reply
    if code == 421:  # RFC 5321 section 4.2.3: the service is closing the channel
        return Outcome.THROTTLED
    if code in _CREDENTIALS:
        return Outcome.BROKEN_CONNECTION
    status = enhanced(text)
    if status is not None and status[0] == str(code)[0]:
        known = _by_status(status, stage, text)
        if known is not None:
            return known
    if 400 <= code < 500:
        return Outcome.RETRYABLE
    if not 500 <= code < 600:
        # No reply that SMTP knows; behind the dot it may be an odd way to say yes.
        return Outcome.UNKNOWN if stage == "dot" else Outcome.BROKEN_CONNECTION
    if stage in ("greeting", "mail"):
        # Nobody's address and no content was named yet: it is we who are refused, and every
        # message would be. Only a size is the message's own (RFC 1870, 552).
        return Outcome.REJECTED_MESSAGE if code == 552 else Outcome.BROKEN_CONNECTION
    if stage == "rcpt" and status is None and code in _NO_SUCH_MAILBOX:
        return Outcome.UNDELIVERABLE_ADDRESS
    return Outcome.REJECTED_MESSAGE


def meaning_of_error(error: Exception, progress: Progress) -> tuple[Outcome, str]:
    """The one place where foreign errors become outcomes. Total over aiosmtplib's errors."""
    name = type(error).__name__
    if progress.handed_over:
        return Outcome.UNKNOWN, f"no answer to the final dot: {name}"
    match error:
        case errors.SMTPResponseException() if not progress.connected:
            reply = Reply("greeting", error.code, error.message)
            return outcome_of(reply), f"{error.code} in answer to our greeting"
        case ssl.SSLError() | errors.SMTPNotSupported():
            return Outcome.BROKEN_CONNECTION, f"no secure connection: {name}"
        case ValueError():
            return Outcome.REJECTED_MESSAGE, "the mail cannot be put in SMTP"
        case _ if not progress.connected:
            return Outcome.BROKEN_CONNECTION, f"no connection: {name}"
        case _:
            return Outcome.RETRYABLE, f"lost before the content was sent: {name}"


def _by_status(status: str, stage: Stage, text: str) -> Outcome | None:
    if nobody_is_there(status, text) and stage not in ("greeting", "mail"):
        return Outcome.UNDELIVERABLE_ADDRESS
    if status in _FULL:
        return Outcome.RETRYABLE
    if status in _TOO_FAST or _AT_A_RATE.search(text) or status.startswith("4.7."):
        # RFC 3463 4.7.x: policy, greylisting
        return Outcome.THROTTLED
    return None
