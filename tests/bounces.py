"""Mails as servers send them back, written after their public documents. Addresses are examples."""

import base64

WHO = "gone@customer.example"
OUR_MAIL = (
    "Return-Path: <{sender}>\r\n"
    "From: Shop <hello@shop.example>\r\n"
    f"To: {WHO}\r\n"
    "Subject: =?utf-8?b?7JWI64WV?=\r\n"
    "CFBL-Feedback-ID: {name}\r\n"
    "\r\n"
    "spam, blocked, user unknown: our own words prove nothing\r\n"
)


def our_mail(sender: str) -> str:
    return OUR_MAIL.format(sender=sender, name=sender.partition("@")[0])


def report(
    fields: str,
    sender: str = "b@bounces.shop.example",
    *,
    kind: str = "message/delivery-status",
    report_type: str = "; report-type=delivery-status",
    encoding: str = "",
    human: str = "I am sorry to tell you that your mail could not be delivered.",
    subject: str = "Undelivered Mail Returned to Sender",
    original: str = "message/rfc822",
) -> bytes:
    """A `multipart/report` of RFC 3464, with what a server may get wrong as arguments."""
    if encoding == "base64":
        fields = base64.encodebytes(fields.encode()).decode()
        kind += "\r\nContent-Transfer-Encoding: base64"
    return (
        "From: Mail Delivery System <MAILER-DAEMON@mx.customer.example>\r\n"
        f"To: {sender}\r\n"
        f"Subject: {subject}\r\n"
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report{report_type}; boundary="=_b"\r\n'
        "\r\n"
        "This is a MIME-encapsulated message.\r\n"
        "\r\n--=_b\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
        f"{human}\r\n"
        f"\r\n--=_b\r\nContent-Type: {kind}\r\n\r\n"
        f"{fields}\r\n"
        f"\r\n--=_b\r\nContent-Type: {original}\r\n\r\n"
        f"{our_mail(sender)}\r\n"
        "\r\n--=_b--\r\n"
    ).encode()


def about(
    status: str, said: str = "", action: str = "failed", *, mta: str = "dns; mx.shop.example"
) -> str:
    diagnostic = f"Diagnostic-Code: {said}\r\n" if said else ""
    return (
        f"Reporting-MTA: {mta}\r\n"
        "Arrival-Date: Mon, 6 Apr 2026 12:00:00 +0900\r\n"
        "\r\n"
        f"Final-Recipient: rfc822; {WHO}\r\n"
        f"Action: {action}\r\n"
        f"Status: {status}\r\n"
        f"{diagnostic}"
    )


def text(
    body: str,
    *,
    sender: str = "b@bounces.shop.example",
    subject: str = "failure notice",
    by: str = "MAILER-DAEMON@mx.customer.example",
    charset: str = "utf-8",
    headers: str = "",
    html: bool = False,
) -> bytes:
    """A bounce without any structure."""
    raw = base64.encodebytes(body.encode(charset)).decode().replace("\n", "\r\n")
    return (
        f"From: {by}\r\nTo: {sender}\r\nSubject: {subject}\r\n{headers}"
        f"Content-Type: text/{'html' if html else 'plain'}; charset={charset}\r\n"
        f"Content-Transfer-Encoding: base64\r\n\r\n{raw}"
    ).encode()


def complaint(
    sender: str = "b@bounces.shop.example",
    *,
    feedback_type: str = "Feedback-Type: abuse\r\n",
    original: str = "message/rfc822",
    to: str = "fbl@bounces.shop.example",
    keeps: str | None = None,
) -> bytes:
    """A report of RFC 5965; `keeps`: what the provider has left of the mail."""
    return (
        f"From: feedback@provider.example\r\nTo: {to}\r\nSubject: FW: your mail\r\n"
        "MIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="=_c"\r\n'
        "\r\n--=_c\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
        "This is an email abuse report.\r\n"
        "\r\n--=_c\r\nContent-Type: message/feedback-report\r\n\r\n"
        f"{feedback_type}User-Agent: Example/1.0\r\nVersion: 1\r\n"
        "\r\n--=_c\r\n"
        f"Content-Type: {original}\r\n\r\n{our_mail(sender) if keeps is None else keeps}\r\n"
        "\r\n--=_c--\r\n"
    ).encode()
