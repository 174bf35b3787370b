"""The approved AlimTalk templates, as the vendors list them.

SOLAPI: `GET /kakao/v2/templates` (https://developers.solapi.com/references/kakao/templates). NHN
Cloud: `GET …/senders/{key}/templates`, whose states are TSC01 (asked) to TSC04 (rejected):
https://docs.nhncloud.com/en/Notification/KakaoTalk%20Bizmessage/en/alimtalk-api-guide/
"""

from collections.abc import Mapping
from typing import Any

from services.dispatch.channels.nhn_codes import header_of
from services.dispatch.channels.port import Setup
from services.dispatch.channels.provider import Answer, Provider, base_url, dicts, required, words
from services.dispatch.channels.signatures import solapi_authorization
from services.dispatch.channels.texts import option
from shared.errors import ConfigurationError, DangolError
from shared.kakao_templates import Approved, Button, Status

_PAGE = 100
_MOST_PAGES = 100
_SOLAPI: Mapping[str, Status] = {
    "APPROVED": "approved",
    "PENDING": "waiting",
    "INSPECTING": "waiting",
    "HUMAN_INSPECTION": "waiting",
    "REJECTED": "rejected",
}
_NHN: Mapping[str, Status] = {"TSC03": "approved", "TSC04": "rejected"}
_LINKS = ("linkMo", "linkPc", "linkAnd", "linkIos", "schemeAndroid", "schemeIos")


class TemplatesUnread(DangolError):
    """The vendor has not told its templates."""


async def approved_templates(setup: Setup) -> list[Approved]:
    """Of the channel's Kakao profile. Raises TemplatesUnread, ConfigurationError."""
    adapter = setup.settings.adapter
    if adapter not in ("nhn", "solapi"):
        raise ConfigurationError(
            f"the adapter {adapter} of {setup.channel} has no approved templates",
            hint="they are SOLAPI's or NHN Cloud's",
        )
    profile = option(setup, "profile", "the Kakao channel's id at the vendor")
    if adapter == "solapi":
        return await _of_solapi(setup, profile)
    return await _of_nhn(setup, profile)


async def _of_solapi(setup: Setup, profile: str) -> list[Approved]:
    key, secret = required(setup, "solapi", "DANGOL_SOLAPI_API_KEY", "DANGOL_SOLAPI_API_SECRET")
    provider = Provider(setup, base_url(setup, "solapi", "https://api.solapi.com"))
    query = {"channelId": profile, "limit": str(_PAGE)}
    found: list[Approved] = []
    try:
        for _ in range(_MOST_PAGES):
            answer = await provider.call(
                *("GET", "/kakao/v2/templates"),
                params=query,
                headers={"authorization": solapi_authorization(key, secret)},
            )
            fields = _fields(answer)
            if "templateList" not in fields:
                said = f"{fields.get('errorCode', '')} {fields.get('errorMessage', '')}"
                raise TemplatesUnread(f"SOLAPI: {words(said) or 'an answer without templates'}")
            found += [_solapi_template(each) for each in dicts(fields["templateList"])]
            following = fields.get("nextKey")
            if not isinstance(following, str) or not following:
                break
            query["startKey"] = following
    finally:
        await provider.close()
    return found


def _solapi_template(each: Mapping[str, Any]) -> Approved:
    status = _SOLAPI.get(str(each.get("status")), "waiting")
    if each.get("isHidden") is True or each.get("dormant") is True or each.get("block") is True:
        status = "stopped"
    return Approved(
        str(each.get("templateId", "")),
        str(each.get("name", "")),
        status,
        str(each.get("content", "")),
        tuple(_button(b, "buttonName", "buttonType") for b in dicts(each.get("buttons"))),
    )


async def _of_nhn(setup: Setup, profile: str) -> list[Approved]:
    names = ("DANGOL_NHN_KAKAO_APP_KEY", "DANGOL_NHN_KAKAO_SECRET_KEY")
    key, secret = required(setup, "nhn", *names)
    own = base_url(setup, "nhn", "https://kakaotalk-bizmessage.api.nhncloudservice.com")
    provider = Provider(setup, own, headers={"x-secret-key": secret})
    path = f"/alimtalk/v2.3/appkeys/{key}/senders/{profile}/templates"
    found: list[Approved] = []
    try:
        for page in range(1, _MOST_PAGES):
            query = {"pageNum": str(page), "pageSize": str(_PAGE)}
            fields = _fields(await provider.call("GET", path, params=query))
            code, said = header_of(fields)
            if code != 0:
                raise TemplatesUnread(f"NHN Cloud: {words(said) or 'an answer without templates'}")
            listed = fields.get("templateListResponse")
            each = dicts(listed.get("templates") if isinstance(listed, dict) else None)
            found += [_nhn_template(template) for template in each]
            if len(each) < _PAGE:
                break
    finally:
        await provider.close()
    return found


def _nhn_template(each: Mapping[str, Any]) -> Approved:
    status = _NHN.get(str(each.get("status")), "waiting")
    if each.get("block") is True or each.get("dormant") is True:
        status = "stopped"
    return Approved(
        str(each.get("templateCode", "")),
        str(each.get("templateName", "")),
        status,
        str(each.get("templateContent", "")),
        tuple(_button(b, "name", "type") for b in dicts(each.get("buttons"))),
    )


def _button(each: Mapping[str, Any], name: str, kind: str) -> Button:
    links = tuple(str(each[link]) for link in _LINKS if each.get(link))
    return Button(str(each.get(name, "")), str(each.get(kind, "")), links)


def _fields(answer: object) -> dict[str, Any]:
    if not isinstance(answer, Answer):
        raise TemplatesUnread(getattr(answer, "detail", "no answer"))
    return answer.fields()
