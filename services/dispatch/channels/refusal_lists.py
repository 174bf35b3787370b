"""The lists of who has refused advertising by an 080 number, as the vendors that run it keep them.

NHN Cloud: https://docs.nhncloud.com/en/Notification/SMS/en/api-guide/ (080 unsubscription, pages of
up to 1,000, times of Korea). SOLAPI: `GET /iam/v1/black`, pages of up to 500 that name the next.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from services.dispatch.channels.nhn_codes import header_of
from services.dispatch.channels.port import Setup
from services.dispatch.channels.provider import Answer, Provider, base_url, dicts, required, words
from services.dispatch.channels.signatures import solapi_authorization
from services.dispatch.channels.texts import digits
from shared.address import phone_number
from shared.errors import ConfigurationError, DangolError
from shared.workspace import ChannelSettings

_SEOUL = ZoneInfo("Asia/Seoul")
_NHN_PAGE, _SOLAPI_PAGE = 1000, 500
_MOST_PAGES = 10_000


class ListUnread(DangolError):
    """The vendor has not given its list; what was read of it before is kept."""


@dataclass(frozen=True, slots=True)
class Refused:
    phone: str
    """E.164."""
    at: datetime


class RefusalList(Protocol):
    name: str

    def read(self, since: datetime | None, now: datetime) -> AsyncIterator[Refused]:
        """Who has refused since then (None: ever). Raises ListUnread."""
        ...

    async def close(self) -> None: ...


class NhnRefusals:
    name = "nhn"

    def __init__(self, setup: Setup, numbers: tuple[str, ...]) -> None:
        """`numbers`: our 080 numbers there. Raises ConfigurationError."""
        names = ("DANGOL_NHN_SMS_APP_KEY", "DANGOL_NHN_SMS_SECRET_KEY")
        key, secret = required(setup, "nhn", *names)
        own = base_url(setup, "nhn", "https://sms.api.nhncloudservice.com")
        self._provider = Provider(setup, own, headers={"x-secret-key": secret})
        self._path = f"/sms/v3.0/appKeys/{key}/blockservice/recipients"
        self._numbers = numbers

    async def read(self, since: datetime | None, now: datetime) -> AsyncIterator[Refused]:
        for number in self._numbers:
            query = {"unsubscribeNo": digits(number), "pageSize": str(_NHN_PAGE)}
            if since is not None:
                query |= {"startRequestDate": _korean(since), "endRequestDate": _korean(now)}
            for page in range(1, _MOST_PAGES):
                found = await self._page({**query, "pageNum": str(page)})
                for each in found:
                    phone = phone_number(str(each.get("recipientNo", "")), "KR")
                    if phone is not None:
                        yield Refused(phone, _nhn_time(each) or now)
                if len(found) < _NHN_PAGE:
                    break

    async def _page(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        answer = await self._provider.call("GET", self._path, params=query)
        if not isinstance(answer, Answer):
            raise ListUnread(answer.detail)
        fields = answer.fields()
        code, said = header_of(fields)
        if code != 0:
            raise ListUnread(f"{answer.status} {words(said)}".strip())
        body = fields.get("body")
        return dicts(body.get("data") if isinstance(body, dict) else None)

    async def close(self) -> None:
        await self._provider.close()


class SolapiRefusals:
    name = "solapi"

    def __init__(self, setup: Setup) -> None:
        """Raises ConfigurationError."""
        names = ("DANGOL_SOLAPI_API_KEY", "DANGOL_SOLAPI_API_SECRET")
        self._key, self._secret = required(setup, "solapi", *names)
        self._provider = Provider(setup, base_url(setup, "solapi", "https://api.solapi.com"))

    async def read(self, since: datetime | None, now: datetime) -> AsyncIterator[Refused]:
        query = {"type": "DENIAL", "limit": str(_SOLAPI_PAGE)}
        if since is not None:
            query |= {"startDate": since.isoformat(), "endDate": now.isoformat()}
        seen: set[str] = set()
        while True:
            headers = {"authorization": solapi_authorization(self._key, self._secret)}
            answer = await self._provider.call(
                "GET", "/iam/v1/black", params=query, headers=headers
            )
            if not isinstance(answer, Answer):
                raise ListUnread(answer.detail)
            fields = answer.fields()
            if not answer.ok or "blackList" not in fields:
                said = words(f"{fields.get('errorCode', '')} {fields.get('errorMessage', '')}")
                raise ListUnread(f"{answer.status} {said}".strip())
            for each in dicts(fields["blackList"]):
                phone = phone_number(str(each.get("recipientNumber", "")), "KR")
                if phone is not None:
                    yield Refused(phone, _instant(each.get("dateCreated")) or now)
            following = fields.get("nextKey")
            if not isinstance(following, str) or not following or following in seen:
                return
            seen.add(following)
            query["startKey"] = following

    async def close(self) -> None:
        await self._provider.close()


def lists_of(
    channels: Mapping[str, ChannelSettings], environment: Mapping[str, str]
) -> tuple[list[RefusalList], list[str]]:
    """The lists that the workspace's `sms` channel has to do with, and why others cannot be read.

    SOLAPI's is read wherever it sends; NHN Cloud's where `unsubscribe_number` names ours.
    """
    settings = channels.get("sms")
    if settings is None:
        return [], []
    found: list[RefusalList] = []
    unread: list[str] = []
    setup = Setup("sms", settings, environment, 2, 10.0)
    for adapter in dict.fromkeys((settings.adapter, *settings.failover)):
        try:
            if adapter == "solapi":
                found.append(SolapiRefusals(setup))
            elif adapter == "nhn" and (numbers := numbers_of(settings)):
                found.append(NhnRefusals(setup, numbers))
        except ConfigurationError as error:
            unread.append(f"{adapter}: {error}")
    return found, unread


def numbers_of(settings: ChannelSettings) -> tuple[str, ...]:
    """Our 080 numbers: `unsubscribe_number` of the channel or of `nhn` in it, one or several."""
    own = settings.options.get("nhn")
    options = {**settings.options, **(own if isinstance(own, dict) else {})}
    given = options.get("unsubscribe_number", ())
    listed = given if isinstance(given, list | tuple) else (given,)
    return tuple(str(number) for number in listed if digits(str(number)))


def _korean(at: datetime) -> str:
    return at.astimezone(_SEOUL).strftime("%Y-%m-%d %H:%M:%S")


def _nhn_time(each: Mapping[str, Any]) -> datetime | None:
    return _instant(each.get("createDate") or each.get("createdDateTime"), _SEOUL)


def _instant(given: object, zone: ZoneInfo | None = None) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(given))
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=zone or UTC)).astimezone(UTC)
