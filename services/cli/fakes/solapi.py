"""SOLAPI, played: groups, its signature, its status codes."""

import base64
import hmac
import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.cli.fakes.base import Taken
from services.cli.fakes.numbers import CutOff, NumberFake, fate_of
from shared.clock import Clock

_SIGNED = re.compile(
    r"HMAC-SHA256 apiKey=(?P<key>[^,]+), date=(?P<date>[^,]+),"
    r" salt=(?P<salt>[^,]{12,64}), signature=(?P<signature>[0-9a-f]{64})"
)
_SKEW = timedelta(minutes=15)
_CODES = {"nobody": "3032", "no-kakao": "3104"}
"""What a report says where it does not say that all is well."""
_KAKAO = frozenset({"ATA", "BMS_FREE"})


@dataclass(slots=True)
class _Group:
    id: str
    status: str = "PENDING"
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)


class FakeSolapi(NumberFake):
    """Groups under `/messages/v4/groups`; a group is sent once."""

    def __init__(self, key: str, secret: str, token: str = "") -> None:
        super().__init__("solapi")
        self._token = token
        self._key = key
        self._secret = secret
        self._salts: set[str] = set()
        self.groups: dict[str, _Group] = {}
        self.balance = 1_000_000
        """Messages that are still paid for."""
        self.templates: list[dict[str, Any]] = []
        """AlimTalk templates as SOLAPI tells them: `templateId`, `status`, `content`, …"""
        self.skew = timedelta(0)
        """How far its clock is ahead of ours."""
        self.files: dict[str, bytes] = {}
        """What was uploaded, by id."""
        self.refusals: list[dict[str, str]] = []
        """`recipientNumber` and `dateCreated` of who has refused by 080."""

    def asgi(self) -> Starlette:
        one = "/messages/v4/groups/{group}"
        return self.app(
            Route("/messages/v4/groups/", self._make, methods=["POST"]),
            Route(one, self._show, methods=["GET"]),
            Route(f"{one}/messages", self._put, methods=["PUT"]),
            Route(f"{one}/messages", self._list, methods=["GET"]),
            Route(f"{one}/send", self._send, methods=["POST"]),
            Route("/iam/v1/black", self._black, methods=["GET"]),
            Route("/kakao/v2/templates", self._templates, methods=["GET"]),
            Route("/storage/v1/files", self._store, methods=["POST"]),
        )

    async def _black(self, request: Request) -> Response:
        """Who has called the 080 number; each page names the next."""
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        query = request.query_params
        since = query.get("startDate", "")
        found = [r for r in self.refusals if r["dateCreated"] >= since]
        size, start = int(query.get("limit", "20")), int(query.get("startKey", "0"))
        following = str(start + size) if start + size < len(found) else None
        return JSONResponse({"blackList": found[start : start + size], "nextKey": following})

    async def _templates(self, request: Request) -> Response:
        """The profile's approved templates; each page names the next."""
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        query = request.query_params
        size, start = int(query.get("limit", "20")), int(query.get("startKey", "0"))
        following = str(start + size) if start + size < len(self.templates) else None
        page = self.templates[start : start + size]
        return JSONResponse({"templateList": page, "nextKey": following})

    async def _store(self, request: Request) -> Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        file = json.loads(await request.body())
        content = base64.b64decode(file["file"])
        if file.get("type") != "MMS" or not content.startswith(b"\xff\xd8"):
            return _error(400, "ValidationError")
        if len(content) > 200_000:
            return _error(400, "FileSizeExceeded")
        name = f"ST01FZ{uuid4().hex.upper()}"
        self.files[name] = content
        return JSONResponse({"fileId": name, "type": "MMS"})

    def _wrong(self, request: Request) -> Response | None:
        """As SOLAPI refuses a signature, or None."""
        match = _SIGNED.fullmatch(request.headers.get("authorization", ""))
        if match is None or match["key"] != self._key:
            return self._forbidden("InvalidAPIKey")
        try:
            apart = abs(Clock().now() + self.skew - datetime.fromisoformat(match["date"]))
        except (ValueError, TypeError):
            return self._forbidden("InvalidDate")
        signed = (match["date"] + match["salt"]).encode()
        expected = hmac.new(self._secret.encode(), signed, sha256).hexdigest()
        if not hmac.compare_digest(expected, match["signature"]):
            return self._forbidden("SignatureDoesNotMatch")
        if apart > _SKEW:
            return self._forbidden("RequestTimeTooSkewed")
        if match["salt"] in self._salts:
            return self._forbidden("DuplicatedSignature")
        self._salts.add(match["salt"])
        return None

    def _forbidden(self, code: str) -> Response:
        self.refused.append(code)
        return _error(403, code)

    async def _make(self, request: Request) -> Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        self.requests += 1
        group = _Group(f"G4V{uuid4().hex.upper()}")
        self.groups[group.id] = group
        return JSONResponse({"groupId": group.id, "status": group.status})

    async def _show(self, request: Request) -> Response:
        group = self.groups.get(request.path_params["group"])
        wrong = self._wrong(request)
        if wrong is not None or group is None:
            return wrong or _error(404, "ResourceNotFound")
        return JSONResponse({"groupId": group.id, "status": group.status})

    async def _list(self, request: Request) -> Response:
        group = self.groups.get(request.path_params["group"])
        wrong = self._wrong(request)
        if wrong is not None or group is None:
            return wrong or _error(404, "ResourceNotFound")
        return JSONResponse({"messageList": group.messages, "limit": 20})

    async def _put(self, request: Request) -> Response:
        group = self.groups.get(request.path_params["group"])
        wrong = self._wrong(request)
        if wrong is not None or group is None:
            return wrong or _error(404, "ResourceNotFound")
        (message,) = json.loads(await request.body())["messages"]
        passing = self.passing(message["to"])
        if passing is not None:
            return _error(passing, "TooManyRequests" if passing == 429 else "InternalError")
        code = _registered(message)
        known = {"messageId": f"M4V{uuid4().hex.upper()}", "statusCode": code}
        group.messages[known["messageId"]] = {**message, **known}
        said = {**known, "to": message["to"], "statusMessage": f"{code}, says the fake"}
        return JSONResponse({"errorCount": int(code != "2000"), "resultList": [said]})

    async def _send(self, request: Request) -> Response:
        group = self.groups.get(request.path_params["group"])
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        if group is None or not group.messages:
            return _error(404, "ResourceNotFound")
        if group.status != "PENDING":
            return _error(409, "AlreadySent")
        if not self.balance:
            return _error(402, "NotEnoughBalance")
        group.status = "SENDING"
        for message_id, message in group.messages.items():
            if message["statusCode"] == "2000":
                self.balance -= 1
                self._take(message_id, message)
        if any(fate_of(m["to"]) == "taken-then-cut" for m in group.messages.values()):
            return CutOff()
        return JSONResponse({"groupId": group.id, "status": group.status})

    def _take(self, message_id: str, message: dict[str, Any]) -> None:
        reference = message.get("customFields", {}).get("message_id")
        options = message.get("kakaoOptions", {})
        text = message.get("text") or json.dumps(options.get("variables"), ensure_ascii=False)
        self.taken.append(
            Taken(message_id, message["to"], text, message["type"], reference, message)
        )
        told = {name: message.get(name) for name in ("to", "country", "customFields")}
        code = _CODES.get(fate_of(message["to"]), "4000")
        if code == "3104" and message["type"] not in _KAKAO:
            code = "4000"
        data = {"messageId": message_id, "type": message["type"], "statusCode": code, **told}
        channel = {"ATA": "alimtalk", "BMS_FREE": "brand_message"}.get(message["type"], "sms")
        query = f"by=solapi&token={self._token}"
        self.report(f"/receipts/{channel}?{query}", json=[{"retryCount": 0, "data": data}])


def _registered(message: dict[str, Any]) -> str:
    """The status code with which a message is registered."""
    fate = fate_of(message["to"])
    options = message.get("kakaoOptions", {})
    if message["type"] in _KAKAO:
        if not options.get("pfId") or (message["type"] == "ATA" and not options.get("templateId")):
            return "1041"
        return "3108" if fate == "outside-hours" and message["type"] == "BMS_FREE" else "2000"
    text = message["text"]
    if fate == "opted-out" and text.startswith("(광고)"):
        return "1061"
    try:
        size = len(text.encode("cp949"))
    except UnicodeEncodeError:
        return "1029"
    if size > (90 if message["type"] == "SMS" else 2000):
        return "1031"
    return "2000" if message.get("from") else "1062"


def _error(status: int, code: str) -> Response:
    headers = {"retry-after": "1"} if status == 429 else None
    body = {"errorCode": code, "errorMessage": f"{code}, says the fake"}
    return JSONResponse(body, status_code=status, headers=headers)
