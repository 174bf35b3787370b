"""What became of texts that Aligo has taken: it is asked, since it calls nobody back.

`POST /sms_list/` tells of each recipient of a `msg_id`, in words.
"""

from datetime import datetime

from services.dispatch.channels.aligo import TAKEN
from services.dispatch.channels.port import Outcome, Result, Setup, Told
from services.dispatch.channels.provider import (
    Provider,
    base_url,
    dicts,
    meaning_of_status,
    required,
    words,
)
from services.dispatch.channels.texts import says_nobody


class AligoReports:
    """Aligo calls nobody back: `POST /sms_list/` tells of each recipient of a `msg_id`."""

    name = "aligo"

    def __init__(self, setup: Setup) -> None:
        """Raises ConfigurationError."""
        key, user = required(setup, "aligo", "DANGOL_ALIGO_API_KEY", "DANGOL_ALIGO_USER_ID")
        self._provider = Provider(setup, base_url(setup, "aligo", "https://apis.aligo.in"))
        self._account = {"key": key, "user_id": user}

    async def ask(self, _channel: str, provider_id: str, now: datetime) -> Told | Result | None:
        """What has become of it; None: nothing yet; a Result where the provider cannot say."""
        form = {**self._account, "mid": provider_id, "page": "1", "page_size": "30"}
        answer = await self._provider.post("/sms_list/", data=form)
        if isinstance(answer, Result):
            return answer
        fields = answer.fields()
        if str(fields.get("result_code")) != str(TAKEN):
            said = words(f"{fields.get('result_code', '')} {fields.get('message', '')}")
            return meaning_of_status(answer, now, said=said) if not answer.ok else _away(said)
        listed = dicts(fields.get("list"))
        if not listed:
            return None
        first = listed[0]
        state = words(first.get("sms_state"))
        outcome = meaning_of_state(state)
        return None if outcome is None else Told(outcome, state, str(first.get("receiver", "")))

    async def close(self) -> None:
        await self._provider.close()


def _away(said: str) -> Result:
    return Result(Outcome.RETRYABLE, detail=said)


def meaning_of_state(state: str) -> Outcome | None:
    """Of the words of a report; None: on its way."""
    if "완료" in state:
        return Outcome.DELIVERED
    if says_nobody(state):
        return Outcome.UNDELIVERABLE_ADDRESS
    if any(word in state for word in ("실패", "거부", "오류", "에러", "차단", "취소")):
        return Outcome.REJECTED_MESSAGE
    return None
