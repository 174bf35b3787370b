"""What became of messages that SENS has taken: it is asked, since it calls nobody back.

A text is found by its request, then asked for by its own id; an AlimTalk has an id from the start.
https://api.ncloud-docs.com/docs/sens-sms-list, https://api.ncloud-docs.com/docs/sens-sms-get,
https://api.ncloud-docs.com/docs/sens-alimtalk-get. These say which code is success (`0`, `0000`)
and that any other is a failure; what the others mean only the words beside them tell.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from services.dispatch.channels.kakao_codes import KAKAO
from services.dispatch.channels.port import Outcome, Result, Setup, Told
from services.dispatch.channels.provider import Answer, dicts, meaning_of_status, words
from services.dispatch.channels.sens import SERVICES, Sens, said_in
from services.dispatch.channels.texts import says_nobody

_UNSURE = frozenset(str(code) for code in KAKAO[Outcome.UNKNOWN])


class SensReports:
    name = "sens"

    def __init__(self, setup: Setup) -> None:
        """Raises ConfigurationError."""
        self._api = Sens(setup)
        self._services = {
            channel: f"{path}/{setup.environment.get(name, '')}/messages"
            for channel, (path, name) in SERVICES.items()
        }

    async def ask(self, channel: str, provider_id: str, now: datetime) -> Told | Result | None:
        """What has become of it; None: nothing yet; a Result where the provider cannot say."""
        place = self._services[channel]
        message_id: str | None = provider_id
        if channel == "sms":
            query = f"?requestId={quote(provider_id, safe='')}"
            listed = await self._get(f"{place}{query}", now)
            if not isinstance(listed, dict):
                return listed
            message_id = _first(listed).get("messageId")
        if not message_id:
            return None
        found = await self._get(f"{place}/{quote(str(message_id), safe='')}", now)
        if not isinstance(found, dict):
            return found
        return told_of_text(_first(found)) if channel == "sms" else told_of_alimtalk(found)

    async def _get(self, path: str, now: datetime) -> dict[str, Any] | Result | None:
        """None: they know nothing of it (yet)."""
        answer = await self._api.call("GET", path)
        if not isinstance(answer, Answer):
            return answer
        if answer.ok:
            return answer.fields()
        if answer.status == 404:
            return None
        return meaning_of_status(answer, now, said=said_in(answer.fields()))

    async def close(self) -> None:
        await self._api.close()


def _first(fields: Mapping[str, Any]) -> dict[str, Any]:
    return next(iter(dicts(fields.get("messages"))), {})


def told_of_text(each: Mapping[str, Any]) -> Told | None:
    if each.get("status") != "COMPLETED":
        return None
    code, number = str(each.get("statusCode", "")), str(each.get("to", ""))
    said = words(f"{code} {each.get('statusMessage', '')}", number)
    if code == "0":
        return Told(Outcome.DELIVERED, said, number)
    gone = says_nobody(said)
    outcome = Outcome.UNDELIVERABLE_ADDRESS if gone else Outcome.REJECTED_MESSAGE
    return Told(outcome, said, number)


def told_of_alimtalk(each: Mapping[str, Any]) -> Told | None:
    state, code = each.get("messageStatusName"), str(each.get("messageStatusCode") or "")
    number = str(each.get("to", ""))
    said = words(f"{code} {each.get('messageStatusDesc', '')}", number)
    if code == "0000":
        return Told(Outcome.DELIVERED, said, number)
    if state == "fail":
        unsure = code in _UNSURE
        return Told(Outcome.UNKNOWN if unsure else Outcome.REJECTED_MESSAGE, said, number)
    if each.get("requestStatusName") == "fail":
        said = words(f"{each.get('requestStatusCode', '')} {each.get('requestStatusDesc', '')}")
        return Told(Outcome.REJECTED_MESSAGE, said, number)
    return None
