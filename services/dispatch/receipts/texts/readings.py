"""The providers' reports, each in its own words, as what they come to. Pure and total: whatever
cannot be read is left out, since no provider mends a report that we refuse.

SOLAPI: https://developers.solapi.com/references/webhooks. NHN Cloud:
https://docs.nhncloud.com/en/Notification/SMS/en/webhook/. Twilio:
https://www.twilio.com/docs/messaging/guides/outbound-message-logging, and advanced-opt-out there.
Bizgo: https://developers.bizgo.io/api-sdk/api-reference (report webhook).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from services.dispatch.channels import nhn_codes, solapi_codes, twilio
from services.dispatch.channels.bizgo_messages import read_reference
from services.dispatch.channels.bizgo_reports import told_by
from services.dispatch.channels.port import Outcome
from services.dispatch.channels.provider import words
from shared.address import phone_number

MOST = 10_000
"""Reports in one request."""
STOP_WORDS = frozenset(
    (
        *("stop", "stopall", "unsubscribe", "end", "quit", "cancel", "revoke", "optout", "opt-out"),
        *(
            "opt out",
            "remove",
            "td",
            "arret",
            "arrêt",
            "그만",
            "수신거부",
            "수신 거부",
            "거부",
            "해지",
        ),
    )
)
"""Twilio acts on the English ones itself (`OptOutType`); the others are for us to understand."""
START_WORDS = frozenset(("start", "unstop", "다시받기", "다시 받기"))
_KAKAO = frozenset({"alimtalk", "brand_message"})


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one message."""

    message_id: str
    """Ours."""
    outcome: Outcome
    detail: str
    number: str | None = None
    opted_out: bool = False
    channel: str | None = None
    """The message's, where the provider reports on all channels at one address."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Somebody refuses advertising from us, by 080 or STOP; no message is named."""

    number: str


@dataclass(frozen=True, slots=True)
class Return:
    """Somebody takes a STOP back."""

    number: str


Reading = Report | Refusal | Return


def read_solapi(body: bytes, _channel: str, _query: Mapping[str, str]) -> Iterator[Reading]:
    for each in _list(_json(body)):
        data = each.get("data", each)
        if not isinstance(data, dict):
            continue
        fields = data.get("customFields")
        message_id = fields.get("message_id") if isinstance(fields, dict) else None
        code = str(data.get("statusCode", ""))
        outcome = solapi_codes.meaning_of_code(code)
        if not isinstance(message_id, str) or outcome is Outcome.ACCEPTED:
            continue  # on its way
        number = _number(data.get("to"), str(data.get("country") or "82"))
        said = words(f"{code} {data.get('statusMessage') or data.get('reason') or ''}")
        yield Report(message_id, outcome, said, number, code == solapi_codes.OPTED_OUT)


def read_nhn(body: bytes, channel: str, _query: Mapping[str, str]) -> Iterator[Reading]:
    whole = _json(body)
    event = whole.get("event") if isinstance(whole, dict) else None
    for hook in _list(whole.get("hooks") if isinstance(whole, dict) else None):
        number = _number(hook.get("recipientNo"), "82")
        if event == "UNSUBSCRIBE" and number is not None:
            yield Refusal(number)
        if event != "MESSAGE_RESULT_UPDATE":
            continue
        # Their own examples spell it in both ways.
        message_id = hook.get("recipientGroupingKey") or hook.get("recipientGropuingKey")
        try:
            code = int(str(hook.get("resultCode")))
        except ValueError:
            continue
        if isinstance(message_id, str):
            outcome = nhn_codes.meaning_of_report(code, kakao=channel in _KAKAO)
            said = words(f"{code} {hook.get('resultMessage') or hook.get('resultCodeName') or ''}")
            yield Report(message_id, outcome, said, number, code == nhn_codes.OPTED_OUT)


def read_bizgo(body: bytes, _channel: str, _query: Mapping[str, str]) -> Iterator[Reading]:
    for each in _list(_json(body)):
        reference = read_reference(each.get("ref"))
        if reference is None or not each.get("reportCode"):
            continue  # of others who use the same account, or no report
        told = told_by(each)
        number = phone_number(reference.number, None)
        yield Report(
            *(reference.message_id, told.outcome, told.detail, number),
            channel=reference.channel,
        )


def key_in(body: bytes) -> str:
    """Bizgo's own key of the message, as it wants it back."""
    whole = _json(body)
    return str(whole.get("msgKey", "")) if isinstance(whole, dict) else ""


def read_twilio(
    form: Mapping[str, str], _channel: str, query: Mapping[str, str]
) -> Iterator[Reading]:
    if form.get("OptOutType", "").upper() == "STOP" or _says(form, STOP_WORDS):
        number = _number(form.get("From"), "")
        if number is not None:
            yield Refusal(number)
        return
    if form.get("OptOutType", "").upper() == "START" or _says(form, START_WORDS):
        number = _number(form.get("From"), "")
        if number is not None:
            yield Return(number)
        return
    message_id, status = query.get("message"), form.get("MessageStatus", "")
    if not message_id or status not in ("delivered", "read", "undelivered", "failed"):
        return
    number = _number(form.get("To"), "")
    if status in ("delivered", "read"):
        yield Report(message_id, Outcome.DELIVERED, status, number)
        return
    given = form.get("ErrorCode", "")
    code = int(given) if given.isdecimal() and len(given) < 9 else 0
    outcome = twilio.meaning_of_code(code) or Outcome.REJECTED_MESSAGE
    yield Report(message_id, outcome, words(f"{status} {given}"), number, code == twilio.OPTED_OUT)


def _says(form: Mapping[str, str], words: frozenset[str]) -> bool:
    """A reply that is one of the words and nothing else: a sentence with it may mean anything."""
    said = form.get("Body", "").strip().strip(".!~ ").casefold()
    return "MessageStatus" not in form and said in words


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _list(found: object) -> list[dict[str, Any]]:
    items = found if isinstance(found, list) else [found]
    return [item for item in items[:MOST] if isinstance(item, dict)]


def _number(given: object, country: str) -> str | None:
    """`01012345678` of 82 → `+821012345678`."""
    text = str(given or "")
    if text.startswith("+"):
        return phone_number(text, None)
    return phone_number(f"+{country}{text.lstrip('0')}", None) if country and text else None
