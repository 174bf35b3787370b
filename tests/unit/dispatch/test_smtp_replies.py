import ssl

import pytest
from aiosmtplib import errors

from services.dispatch.channels.port import Outcome
from services.dispatch.channels.smtp_replies import (
    Progress,
    Reply,
    Stage,
    enhanced,
    meaning_of_error,
    outcome_of,
)


@pytest.mark.parametrize(
    ("stage", "code", "text", "outcome"),
    [
        ("rcpt", 550, "5.1.1 no such user", Outcome.UNDELIVERABLE_ADDRESS),
        ("rcpt", 550, "5.1.2 bad domain", Outcome.UNDELIVERABLE_ADDRESS),
        ("rcpt", 556, "5.1.10 null MX", Outcome.UNDELIVERABLE_ADDRESS),
        ("dot", 550, "5.4.1 recipient rejected", Outcome.UNDELIVERABLE_ADDRESS),
        ("dot", 550, "5.1.1 no such user", Outcome.UNDELIVERABLE_ADDRESS),
        ("rcpt", 550, "mailbox unavailable", Outcome.UNDELIVERABLE_ADDRESS),
        ("rcpt", 551, "user not local", Outcome.UNDELIVERABLE_ADDRESS),
        ("dot", 550, "we do not like it", Outcome.REJECTED_MESSAGE),
        ("rcpt", 552, "5.2.2 mailbox full", Outcome.RETRYABLE),
        ("rcpt", 452, "4.2.2 mailbox full", Outcome.RETRYABLE),
        ("dot", 554, "5.7.1 spam", Outcome.REJECTED_MESSAGE),
        ("rcpt", 550, "5.7.1 policy", Outcome.REJECTED_MESSAGE),
        ("dot", 550, "5.7.26 unauthenticated mail", Outcome.REJECTED_MESSAGE),
        ("dot", 552, "5.3.4 too big", Outcome.REJECTED_MESSAGE),
        ("rcpt", 553, "5.1.7 syntax", Outcome.REJECTED_MESSAGE),
        ("rcpt", 501, "syntax", Outcome.REJECTED_MESSAGE),
        ("mail", 421, "4.3.2 shutting down", Outcome.THROTTLED),
        ("dot", 421, "closing", Outcome.THROTTLED),
        ("rcpt", 450, "4.2.1 receiving at too high a rate", Outcome.THROTTLED),
        ("rcpt", 451, "4.7.1 greylisted", Outcome.THROTTLED),
        ("rcpt", 450, "mailbox busy", Outcome.RETRYABLE),
        ("dot", 451, "local error", Outcome.RETRYABLE),
        ("mail", 530, "5.7.0 authentication required", Outcome.BROKEN_CONNECTION),
        ("greeting", 535, "5.7.8 bad credentials", Outcome.BROKEN_CONNECTION),
        ("greeting", 534, "5.7.9 mechanism too weak", Outcome.BROKEN_CONNECTION),
        ("greeting", 554, "no service", Outcome.BROKEN_CONNECTION),
        ("greeting", 450, "busy", Outcome.RETRYABLE),
        ("mail", 550, "5.7.1 sender not allowed", Outcome.BROKEN_CONNECTION),
        ("mail", 550, "5.1.8 bad sender", Outcome.BROKEN_CONNECTION),
        ("mail", 552, "5.3.4 too big", Outcome.REJECTED_MESSAGE),
        ("mail", 250, "5.1.1 odd", Outcome.BROKEN_CONNECTION),
        ("dot", 354, "odd", Outcome.UNKNOWN),
        ("dot", -1, "rubbish", Outcome.UNKNOWN),
        ("rcpt", 450, "5.1.1 contradicts itself", Outcome.RETRYABLE),
    ],
)
def test_a_reply_is_read_by_its_enhanced_status_first(
    stage: Stage, code: int, text: str, outcome: Outcome
) -> None:
    assert outcome_of(Reply(stage, code, text)) is outcome


@pytest.mark.parametrize("stage", ["greeting", "mail", "rcpt", "data", "dot"])
def test_every_reply_has_a_meaning(stage: Stage) -> None:
    for code in range(-1, 1000):
        for text in ("", "5.1.1", "4.2.1 x", "2.0.0", "9.9.9"):
            assert outcome_of(Reply(stage, code, text)) in Outcome


def test_an_enhanced_status_is_found_in_the_text() -> None:
    assert enhanced("5.1.1 <a@b.example> unknown") == "5.1.1"
    assert enhanced("host 10.5.1.1 said no") is None
    assert enhanced("none") is None


def all_errors(of: type[Exception]) -> list[type[Exception]]:
    return [of, *(found for sub in of.__subclasses__() for found in all_errors(sub))]


def made(kind: type[Exception]) -> Exception:
    if kind is errors.SMTPRecipientsRefused:
        return errors.SMTPRecipientsRefused([])
    for arguments in ((550, "5.1.1 no", "a@b.example"), (550, "no"), ("lost",)):
        try:
            return kind(*arguments)
        except TypeError:
            continue
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", all_errors(errors.SMTPException))
def test_every_error_of_the_library_has_a_meaning_in_every_phase(kind: type[Exception]) -> None:
    for connected, handed_over in ((False, False), (True, False), (True, True)):
        progress = Progress()
        progress.connected, progress.handed_over = connected, handed_over
        outcome, detail = meaning_of_error(made(kind), progress)
        assert (outcome is Outcome.UNKNOWN) == handed_over
        assert "a@b.example" not in detail


@pytest.mark.parametrize(
    ("error", "connected", "outcome"),
    [
        (OSError("refused"), False, Outcome.BROKEN_CONNECTION),
        (TimeoutError(), False, Outcome.BROKEN_CONNECTION),
        (ssl.SSLError("bad certificate"), False, Outcome.BROKEN_CONNECTION),
        (errors.SMTPNotSupported("no STARTTLS"), False, Outcome.BROKEN_CONNECTION),
        (errors.SMTPAuthenticationError(535, "no"), False, Outcome.BROKEN_CONNECTION),
        (errors.SMTPConnectResponseError(421, "busy"), False, Outcome.THROTTLED),
        (errors.SMTPServerDisconnected("lost"), True, Outcome.RETRYABLE),
        (errors.SMTPReadTimeoutError("slow"), True, Outcome.RETRYABLE),
        (TimeoutError(), True, Outcome.RETRYABLE),
        (ValueError("control character"), True, Outcome.REJECTED_MESSAGE),
    ],
)
def test_before_the_content_is_sent_nothing_is_unknown(
    error: Exception, connected: bool, outcome: Outcome
) -> None:
    progress = Progress()
    progress.connected = connected
    assert meaning_of_error(error, progress)[0] is outcome
