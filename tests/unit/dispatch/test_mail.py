import base64
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from services.dispatch.channels.mail import Sender, build, message_id, sender_of
from services.dispatch.channels.port import Outgoing
from shared.errors import ConfigurationError
from shared.templates import Rendered

SENDER = sender_of("단골 <hello@shop.example>")
AT = datetime(2026, 4, 6, 12, 30, tzinfo=UTC)


def outgoing(subject: str = "Hi", body: str = "<p>Hi</p>", **parts: str) -> Outgoing:
    return Outgoing(
        message_id="m1",
        attempt=1,
        channel="email",
        address="ann@shop.example",
        category="marketing",
        content=Rendered({"subject": subject, **parts}, body, html=True),
        at=AT,
    )


def parsed(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=policy.SMTP)


def bodies(raw: bytes) -> tuple[str, str]:
    text, html = parsed(raw).iter_parts()
    return cast(EmailMessage, text).get_content(), cast(EmailMessage, html).get_content()


def test_a_mail_has_its_headers_and_both_parts() -> None:
    raw = build(
        outgoing("김단골님, 담아 두신 겨울 코트가 곧 품절됩니다 🎁" * 3, "<p>안녕</p>"), SENDER
    )
    mail = parsed(raw)
    assert mail["Subject"] == "김단골님, 담아 두신 겨울 코트가 곧 품절됩니다 🎁" * 3
    assert mail["From"] == "단골 <hello@shop.example>"
    assert mail["To"] == "ann@shop.example"
    assert mail["Date"] == "Mon, 06 Apr 2026 12:30:00 +0000"
    assert mail["Message-ID"] == message_id("m1", SENDER)
    assert mail["MIME-Version"] == "1.0"
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert [body.strip() for body in bodies(raw)] == ["안녕", "<p>안녕</p>"]
    assert mail.defects == []


def test_a_message_id_is_the_same_for_every_attempt_and_no_other_message() -> None:
    assert message_id("m1", SENDER) == message_id("m1", SENDER)
    assert message_id("m1", SENDER) != message_id("m2", SENDER)
    assert message_id("m1", SENDER).endswith("@shop.example>")


def test_a_preheader_stands_hidden_at_the_top_of_the_body() -> None:
    raw = build(
        outgoing(body='<html><body class="x"><p>a</p></body></html>', preheader="<b>"), SENDER
    )
    html = bodies(raw)[1]
    assert html.startswith('<html><body class="x"><div style="display:none')
    assert "&lt;b&gt;</div><p>a</p>" in html


@pytest.mark.parametrize(
    "subject",
    [
        "Hi\r\nBcc: eve@evil.example",
        "Hi\nBcc: eve@evil.example",
        "Hi\rBcc: eve@evil.example",
        "Hi\u2028Bcc: eve@evil.example",
        "안녕\r\nBcc: eve@evil.example\r\n\r\nbody",
        "a" * 70 + "\r\n\r\nX",
    ],
)
def test_a_subject_cannot_end_its_header(subject: str) -> None:
    mail = parsed(build(outgoing(subject), SENDER))
    assert "Bcc" not in mail
    assert len(list(mail.iter_parts())) == 2


@settings(max_examples=300, deadline=None)
@given(subject=st.text(max_size=200), body=st.text(max_size=3000), preheader=st.text(max_size=50))
def test_any_text_comes_out_as_it_went_in(subject: str, body: str, preheader: str) -> None:
    raw = build(outgoing(subject, body, preheader=preheader), SENDER)
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    head = raw.partition(b"\r\n\r\n")[0]
    assert all(len(line) <= 78 for line in head.split(b"\r\n")[:3])
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] != b" "]
    assert names == [
        *(b"From", b"To", b"Subject", b"Date", b"Message-ID", b"MIME-Version", b"Content-Type")
    ]
    text, html = (parsed(part).get_payload(decode=True) for part in _raw_parts(raw))
    wanted = body.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace")
    assert isinstance(html, bytes)
    assert html.replace(b"\r\n", b"\n").rstrip(b"\n").endswith(wanted.rstrip(b"\n"))
    assert isinstance(text, bytes)


def _raw_parts(raw: bytes) -> tuple[bytes, bytes]:
    head, _, rest = raw.partition(b"\r\n\r\n")
    boundary = head.rpartition(b'boundary="')[2].rstrip(b'"')
    _, text, html, _ = (b"\r\n" + rest).split(b"--" + boundary)
    return text.removeprefix(b"\r\n"), html.removeprefix(b"\r\n")


def test_lines_that_begin_with_a_dot_and_long_lines_are_safe() -> None:
    raw = build(outgoing(body=".\n..\n" + "x" * 5000), SENDER)
    assert bodies(raw)[1].replace("\r\n", "\n").startswith(".\n..\nx")
    assert max(map(len, raw.split(b"\r\n"))) <= 76


@pytest.mark.parametrize(
    ("text", "sender"),
    [
        ("hello@shop.example", ("hello@shop.example", "hello@shop.example", "shop.example")),
        (
            "Shop <hello@Shop.example>",
            ('"Shop" <hello@shop.example>', "hello@shop.example", "shop.example"),
        ),
        (
            '"A \\"B\\" C" <hello@shop.example>',
            ('"A \\"B\\" C" <hello@shop.example>', "hello@shop.example", "shop.example"),
        ),
    ],
)
def test_a_sender_is_read_once(text: str, sender: tuple[str, str, str]) -> None:
    assert sender_of(text) == Sender(*sender)


@pytest.mark.parametrize("text", [None, "", "Shop", "Shop <nobody>", "a@b.example, c@d.example"])
def test_a_sender_that_is_none_is_refused(text: str | None) -> None:
    with pytest.raises(ConfigurationError, match="sender"):
        sender_of(text)


# A signature covers the way out ------------------------------------------------------------

KEY = rsa.generate_private_key(65537, 2048)
WAY_OUT = {
    "List-Unsubscribe": "<https://shop.example/u/" + "a1B2" * 80 + ">",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
}


def signed(raw: bytes, *names: str) -> bytes:
    """As a mail server signs what we hand over."""
    key = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    covered = [name.encode().lower() for name in ("From", "To", "Subject", *names)]
    signature: bytes = dkim.sign(raw, b"s", b"shop.example", key, include_headers=covered)
    return signature + raw


def holds(raw: bytes) -> bool:
    public = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
    return bool(dkim.verify(raw, dnsfunc=lambda *_args, **_more: record))


@pytest.mark.parametrize("body", ["<p>Hi</p>", "<p>안녕하세요</p>", "x" * 3000, "", ".\n.\n"])
def test_a_signature_covers_one_click_unsubscribing_and_the_complaints_address(body: str) -> None:
    """RFC 8058 asks for it, and RFC 9477. Our bytes must be such that a signature holds."""
    names = (*WAY_OUT, "CFBL-Address", "CFBL-Feedback-ID")
    mail = replace(
        outgoing("(광고) 안녕하세요", body),
        headers=WAY_OUT,
        return_path=f"b{'a' * 61}@bounces.shop.example",
    )
    whole = signed(build(mail, SENDER), *names)
    assert holds(whole)
    assert parsed(whole)["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    for name in names:
        assert whole.count(f"\r\n{name}: ".encode()) == 1
        assert not holds(whole.replace(f"\r\n{name}: ".encode(), f"\r\n{name}: x".encode()))
    assert not holds(whole.replace(b"/u/a1B2", b"/u/evil"))
