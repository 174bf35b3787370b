"""Bounces and complaints as servers write them: what is read, and what must not be believed."""

import email
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatch.receipts.bounces.notices import LONGEST_READ, read_notice
from services.dispatch.receipts.bounces.verdict import is_hard
from services.dispatch.receipts.bounces.verp import make_return_paths
from shared.ids import derived_id
from tests.bounces import WHO, about, complaint, report, text
from tests.patience import in_time

KEY = b"k" * 32
PATHS = make_return_paths("Bounces.Shop.Example", KEY)
ID, HASH = derived_id("message"), derived_id("address")
SENDER = PATHS.address(ID, HASH) or ""

POSTFIX = "smtp; 550 5.1.1 <gone@customer.example>: Recipient address rejected: User unknown"
GMAIL = (
    "smtp; 550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n"
    " 550-5.1.1 double-checking the recipient's email address for typos. 550 5.1.1 - gsmtp"
)
HARD = {
    "postfix": report(about("5.1.1", POSTFIX)),
    "gmail, in several lines": report(about("5.1.1", GMAIL)),
    "null mx": report(about("5.1.10", "smtp; 556 5.1.10 recipient domain does not accept mail")),
    "exchange": report(about("5.1.10", "smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound")),
    "the status says nothing, the server does": report(about("5.0.0", POSTFIX)),
    "hotmail": report(
        about("5.5.0", "smtp;550 5.5.0 Requested action not taken: mailbox unavailable")
    ),
    "no such domain": report(
        about("5.4.4", "X-Postfix; Host or domain name not found. Name service error")
    ),
    "yahoo korea": report(
        about("5.0.0", "smtp; 554 delivery error: dd This user doesn't have a yahoo.co.kr account")
    ),
    "daum": report(about("5.1.1", "smtp; 550 5.1.1 RUSR 192.0.2.1: No such user")),
    "a dormant mailbox": report(about("5.0.0", "smtp; 550 Inactive mbox")),
    "korean words": report(about("5.0.0", "smtp; 550 존재하지 않는 사용자입니다")),
    "korean words of an old server": report(about("5.0.0", "smtp; 550 KOREAN")).replace(
        b"KOREAN", "수신자가 없습니다".encode("euc-kr")
    ),
    "only the basic code": report(
        about("5.0.0", "smtp; 550 gone@customer.example no (in reply to RCPT TO command)")
    ),
    "no report-type": report(about("5.1.1"), report_type=""),
    "fields as a text": report(about("5.1.1"), kind="text/plain; charset=us-ascii"),
    "fields as a file": report(about("5.1.1"), kind="application/octet-stream"),
    "fields in base64": report(about("5.1.1"), encoding="base64"),
    "fields in one block": report(about("5.1.1").replace("\r\n\r\n", "\r\n")),
    "no action": report(about("5.1.1").replace("Action: failed\r\n", "")),
    "loud": report(about("5.1.1 (bad destination mailbox)").replace("failed", "FAILED")),
    "bare line ends": report(about("5.1.1", POSTFIX)).replace(b"\r\n", b"\n"),
    "two recipients, one is gone": report(
        about("4.2.2") + "\r\nFinal-Recipient: rfc822; b@b.example\r\nAction: failed\r\n"
        "Status: 5.1.1\r\n"
    ),
    "exim": text(
        "This message was created automatically by mail delivery software.\n\n"
        "A message that you sent could not be delivered to one or more of its\nrecipients."
        " This is a permanent error. The following address(es) failed:\n\n"
        f"  {WHO}\n    Unrouteable address\n\n"
        "------ This is a copy of the message, including all the headers. ------\n\nspam",
        subject="Mail delivery failed: returning message to sender",
        headers=f"X-Failed-Recipients: {WHO}\r\nAuto-Submitted: auto-replied\r\n",
    ),
    "qmail": text(
        "Hi. This is the qmail-send program at mx.customer.example.\n"
        "I'm afraid I wasn't able to deliver your message to the following addresses.\n\n"
        f"<{WHO}>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n"
        "--- Below this line is a copy of the message.\n\nover quota"
    ),
    "korean webmail": text(
        "고객님께서 보내신 메일이 전달되지 못했습니다.\n사유: 존재하지 않는 사용자 계정입니다.\n",
        charset="euc-kr",
        subject="=?euc-kr?B?W7jewM+53byhXSC55sDM?=",
    ),
    "korean webmail in html": text(
        "<html><style>p {}</style><body><p>받는 사람을 찾을 수 없습니다</p></body></html>",
        subject="[반송] 메일 전송 실패",
        html=True,
    ),
}
SOFT = {
    "full": report(about("5.2.2", "smtp; 552 5.2.2 The email account is over quota")),
    "full, with a status that lies": report(about("5.1.1", "smtp; 550 5.1.1 mailbox is full")),
    "full in korean": report(about("5.0.0", "smtp; 552 메일 용량이 초과되었습니다")),
    "tried for days": report(about("4.4.1", "smtp; connection timed out", "failed")),
    "gmail's rate": report(
        about(
            "5.2.1",
            "smtp; 550-5.2.1 The user you are trying to contact is receiving mail at"
            " a rate that 550 5.2.1 prevents additional messages",
        )
    ),
    "policy": report(about("5.7.1", "smtp; 550 5.7.1 message refused: unknown user policy")),
    "too many mails, korea": report(
        about("5.7.1", "smtp; 550 5.7.1 access was denied. Since you sent too many e-mails")
    ),
    "the reader's own list": report(
        about("5.0.0", "smtp; 550 You are registered as spammer (by user's reject list)")
    ),
    "denied": report(about("5.0.0", "smtp; 554 Service unavailable (mail is denied, by filter)")),
    "nothing but a code": report(about("5.0.0", "smtp; 554 no")),
    "too large": report(about("5.3.4", "smtp; 552 5.3.4 message too big")),
    "text without a reason": text("Your mail could not be delivered."),
    "text, quota": text("<a@b.example>: mailbox quota exceeded", subject="Returned mail"),
}
OTHER = {
    "a delay": report(about("4.4.1", "smtp; timed out", "delayed"), subject="Delayed Mail"),
    "it has arrived": report(about("2.0.0", "", "delivered"), subject="Success"),
    "a reading receipt": report(
        "Final-Recipient: rfc822; a@b.example\r\nDisposition: manual-action; displayed\r\n",
        report_type="; report-type=disposition-notification",
        kind="message/disposition-notification",
    ),
    "somebody is away": text(
        "I am on holiday. Ask 550 others.",
        subject="Out of office",
        by="Ann <ann@customer.example>",
        headers="Auto-Submitted: auto-replied\r\n",
    ),
    "somebody answers": text("user unknown?", subject="Re: hello", by="ann@customer.example"),
    "a warning": text(
        "THIS IS A WARNING MESSAGE ONLY. Your mail will be retried.",
        subject="Warning: could not send message for past 4 hours",
    ),
    "nothing": b"",
    "no mail": b"\x00\xff" * 100,
    "it is not spam": complaint(feedback_type="Feedback-Type: not-spam\r\n"),
    "dkim failed": complaint(feedback_type="Feedback-Type: auth-failure\r\n"),
}


@pytest.mark.parametrize("name", HARD)
def test_nobody_is_there(name: str) -> None:
    notice = read_notice(HARD[name])
    assert (notice.kind, notice.hard) == ("bounced", True)
    assert WHO not in notice.detail


@pytest.mark.parametrize("name", SOFT)
def test_it_came_back_and_closes_nothing(name: str) -> None:
    notice = read_notice(SOFT[name])
    assert (notice.kind, notice.hard) == ("bounced", False)


@pytest.mark.parametrize("name", OTHER)
def test_it_says_nothing_about_the_address(name: str) -> None:
    assert read_notice(OTHER[name]).kind == "other"


@pytest.mark.parametrize(
    "raw",
    [
        complaint(SENDER),
        complaint(SENDER, original="text/rfc822-headers"),
        complaint(SENDER, feedback_type=""),
        complaint(SENDER, feedback_type="feedback-type: ABUSE \r\n"),
        complaint(SENDER, keeps=f"CFBL-Feedback-ID: {SENDER.partition('@')[0].upper()}\r\n\r\n"),
        complaint(
            SENDER,
            feedback_type=f"Feedback-Type: abuse\r\nOriginal-Mail-From: <{SENDER}>\r\n",
            keeps="Subject: nothing is left\r\n\r\n",
        ),
    ],
)
def test_a_complaint_names_the_mail_by_what_is_left_of_it(raw: bytes) -> None:
    notice = read_notice(raw)
    assert notice.kind == "complained"
    assert PATHS.find(notice.text) == (ID, HASH)


def test_the_mail_is_named_by_the_address_that_it_came_from() -> None:
    assert SENDER.endswith("@bounces.shop.example")
    assert len(SENDER.partition("@")[0]) <= 64
    assert PATHS.find(SENDER.upper()) == (ID, HASH)
    assert PATHS.is_ours(SENDER)
    assert PATHS.is_ours("FBL@bounces.shop.example")
    assert PATHS.address("m1", HASH) is None


@pytest.mark.parametrize(
    "address",
    [
        "hello@bounces.shop.example",
        SENDER.replace("bounces", "other"),
        make_return_paths("bounces.shop.example", b"x" * 32).address(ID, HASH) or "",
        "b" + "a" * 61 + "@bounces.shop.example",
        "x" + SENDER,
        "@",
        "",
    ],
)
def test_an_address_of_others_making_is_not_ours(address: str) -> None:
    assert not PATHS.is_ours(address)
    if "other" not in address:
        assert PATHS.find(address) is None


@given(place=st.integers(1, 61), letter=st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_nobody_can_turn_one_address_into_another(place: int, letter: str) -> None:
    local = SENDER.partition("@")[0]
    forged = local[:place] + letter + local[place + 1 :]
    found = PATHS.find(f"{forged}@bounces.shop.example")
    # The last character holds bits that stand for nothing.
    assert found is None or found == (ID, HASH)


PIECES = [*HARD.values(), *SOFT.values(), *OTHER.values(), complaint(SENDER)]


@given(data=st.data())
def test_whatever_comes_is_read_or_left(data: Any) -> None:
    raw = data.draw(st.sampled_from(PIECES) | st.binary(max_size=300))
    for _ in range(data.draw(st.integers(0, 4))):
        cut = data.draw(st.integers(0, len(raw)))
        raw = (
            raw[:cut]
            + data.draw(st.binary(max_size=30))
            + raw[cut + data.draw(st.integers(0, 9)) :]
        )
    read_notice(raw)


def nested(depth: int) -> bytes:
    heads = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n)
        for n in range(depth)
    )
    return heads + b"x\r\n" * 100_000


@pytest.mark.parametrize(
    "raw",
    [
        nested(40),
        nested(5000),
        b"Content-Type: message/rfc822\r\n\r\n" * 20_000,
        b"a: b\r\n" * 100_000,
        b"Subject: " + b"=?utf-8?b?" * 50_000,
        b"From: " + b"<" * LONGEST_READ,
        text("user " * 100_000),
        text("mailbox" + " " * 200_000),
        report(about("5.1.1", "smtp; " + "account " * 20_000)),
    ],
)
def test_what_is_made_to_be_slow_is_not(raw: bytes) -> None:
    began = time.process_time()
    read_notice(raw)
    assert in_time(time.process_time() - began, 5)


def test_a_long_mail_is_read_from_its_beginning() -> None:
    raw = report(about("5.1.1", POSTFIX)) + b"x" * 2_000_000
    assert read_notice(raw).hard


def test_a_reason_is_looked_for_in_bounded_time() -> None:
    began = time.process_time()
    for words in ("account ", "user ", "550 ", "mailbox unknown "):
        is_hard("5.0.0", words * 100_000)
    assert in_time(time.process_time() - began, 2)


def test_the_samples_are_what_they_say() -> None:
    assert email.message_from_bytes(HARD["postfix"]).get_content_type() == "multipart/report"
