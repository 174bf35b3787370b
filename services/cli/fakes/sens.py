"""Naver Cloud's SENS, played: its signature, texts, AlimTalk, and what it tells when asked."""

import base64
import hmac
import json
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.cli.fakes.base import Taken
from services.cli.fakes.numbers import CutOff, NumberFake, fate_of
from services.dispatch.channels.signatures import ncloud_signature
from shared.clock import Clock

_SKEW = timedelta(minutes=5)
_FAILED = {"nobody": ("3001", "가입자 없음(결번)")}
_KAKAO_FAILED = {"no-kakao": ("3019", "톡 유저가 아님")}


class FakeSens(NumberFake):
    def __init__(self, key: str, secret: str, sms: str, biz: str) -> None:
        """`sms`, `biz`: the ids of the project's services."""
        super().__init__("sens")
        self._key = key
        self._secret = secret
        self._services = {"sms": sms, "alimtalk": biz}
        self.skew = timedelta(0)
        """How far its clock is ahead of ours."""
        self.files: dict[str, bytes] = {}
        """What was uploaded, by id."""
        self.asked_for: list[str] = []
        """Paths by which reports were asked for."""
        self._seen: set[str] = set()
        """Messages that have been asked for: the first time they are on their way."""

    def asgi(self) -> Starlette:
        place = "/{product}/v2/services/{service}"
        return self.app(
            Route(f"{place}/messages", self._send, methods=["POST"]),
            Route(f"{place}/messages", self._list, methods=["GET"]),
            Route(f"{place}/messages/{{message}}", self._get, methods=["GET"]),
            Route(f"{place}/files", self._store, methods=["POST"]),
        )

    def _wrong(self, request: Request) -> Response | None:
        """As the gateway refuses a signature, or None."""
        headers, scope = request.headers, request.scope
        stamp = headers.get("x-ncp-apigw-timestamp", "")
        path = scope["raw_path"].decode().removeprefix(scope.get("root_path", ""))
        query = scope["query_string"].decode()
        target = f"{path}?{query}" if query else path
        expected = ncloud_signature(request.method, target, stamp, self._key, self._secret)
        given = headers.get("x-ncp-apigw-signature-v2", "")
        if headers.get("x-ncp-iam-access-key") != self._key or not stamp.isdecimal():
            return self._refuse("Invalid authentication information.")
        if not hmac.compare_digest(given.encode(), expected.encode()):
            return self._refuse("Invalid signature.")
        sent_at = datetime.fromtimestamp(int(stamp) / 1000, Clock().now().tzinfo)
        if abs(Clock().now() + self.skew - sent_at) > _SKEW:
            return self._refuse("Expired timestamp.")
        product, service = request.path_params["product"], request.path_params["service"]
        if self._services.get(product) != service:
            return _error(404, "300", "Not Found Exception", "no such service")
        return None

    def _refuse(self, why: str) -> Response:
        self.refused.append(why)
        return _error(401, "200", "Authentication Failed", why)

    async def _store(self, request: Request) -> Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        file = json.loads(await request.body())
        content = base64.b64decode(file["fileBody"])
        if not file["fileName"].endswith((".jpg", ".jpeg")) or len(file["fileName"]) > 40:
            return _bad("fileName")
        if not content.startswith(b"\xff\xd8") or len(content) > 300_000:
            return _bad("fileBody")
        name = str(uuid4())
        self.files[name] = content
        return JSONResponse({"fileId": name, "createTime": "", "expireTime": ""})

    async def _send(self, request: Request) -> Response:
        self.requests += 1
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        body: dict[str, Any] = json.loads(await request.body())
        (recipient,) = body["messages"]
        number = recipient["to"]
        passing = self.passing(number)
        if passing is not None:
            codes = {429: ("420", "Rate Limited"), 500: ("900", "Unexpected Error")}
            return _error(passing, *codes[passing], "says the fake")
        kakao = request.path_params["product"] == "alimtalk"
        why = _kakao_fault(body, recipient) if kakao else _text_fault(body, self.files)
        if why is not None:
            return _bad(why)
        message_id, request_id = str(uuid4()), uuid4().hex
        kind = "alimtalk" if kakao else body["type"]
        text = recipient["content"] if kakao else body["content"]
        self.taken.append(Taken(message_id, number, text, kind, request_id, body))
        if fate_of(number) == "taken-then-cut":
            return CutOff()
        said = {"requestId": request_id, "requestTime": "2026-03-02T14:00:00.000"}
        if not kakao:
            more = {"statusCode": "202", "statusName": "success"}
            return JSONResponse({**said, **more}, status_code=202)
        each = {"messageId": message_id, "to": number, "requestStatusCode": "A000"}
        each |= {"requestStatusName": "success", "requestStatusDesc": "성공"}
        return JSONResponse({**said, "statusCode": "202", "messages": [each]}, status_code=202)

    async def _list(self, request: Request) -> Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        self.asked_for.append(request.url.path)
        wanted = request.query_params.get("requestId")
        found = [{"messageId": t.id, "to": t.to} for t in self.taken if t.key == wanted]
        return JSONResponse({"statusCode": "202", "statusName": "success", "messages": found})

    async def _get(self, request: Request) -> Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        self.asked_for.append(request.url.path)
        wanted = request.path_params["message"]
        taken = next((t for t in self.taken if t.id == wanted), None)
        if taken is None:
            return _error(404, "300", "Not Found Exception", "no such message")
        done = taken.id in self._seen
        self._seen.add(taken.id)
        if taken.kind == "alimtalk":
            return JSONResponse(_alimtalk_result(taken, done=done))
        each = _text_result(taken, done=done)
        return JSONResponse({"statusCode": "200", "statusName": "success", "messages": [each]})


def _text_fault(body: dict[str, Any], files: dict[str, bytes]) -> str | None:
    size, kind = len(body["content"].encode("cp949", "replace")), body["type"]
    if size > (90 if kind == "SMS" else 2000):
        return "content"
    if not body.get("from"):
        return "from"
    if body["contentType"] not in ("COMM", "AD"):
        return "contentType"
    named = [file["fileId"] for file in body.get("files", [])]
    if (kind == "MMS") != bool(named) or (files and not set(named) <= set(files)):
        return "files"
    return None


def _kakao_fault(body: dict[str, Any], recipient: dict[str, Any]) -> str | None:
    missing = [name for name in ("plusFriendId", "templateCode") if not body.get(name)]
    if missing:
        return missing[0]
    return "content" if not recipient.get("content") or "#{" in recipient["content"] else None


def _text_result(taken: Taken, *, done: bool) -> dict[str, str]:
    known = {"messageId": taken.id, "to": taken.to, "type": taken.kind}
    if not done:
        return {**known, "status": "PROCESSING"}
    code, said = _FAILED.get(fate_of(taken.to), ("0", ""))
    name = "success" if code == "0" else "fail"
    told = {"statusCode": code, "statusName": name, "statusMessage": said, "telcoCode": "ETC"}
    return {**known, "status": "COMPLETED", **told}


def _alimtalk_result(taken: Taken, *, done: bool) -> dict[str, str]:
    known = {"messageId": taken.id, "to": taken.to, "requestStatusCode": "A000"}
    known |= {"requestStatusName": "success", "requestStatusDesc": "성공"}
    if not done:
        return {**known, "messageStatusName": "processing"}
    code, said = _KAKAO_FAILED.get(fate_of(taken.to), ("0000", "성공"))
    name = "success" if code == "0000" else "fail"
    told = {"messageStatusCode": code, "messageStatusName": name, "messageStatusDesc": said}
    return {**known, **told}


def _bad(what: str) -> Response:
    said = f"{what}: says the fake"
    body = {"status": 400, "errors": "Bad Request", "errorMessage": said}
    return JSONResponse(body, status_code=400)


def _error(status: int, code: str, message: str, details: str) -> Response:
    """As the gateway before SENS refuses."""
    headers = {"retry-after": "1"} if status == 429 else None
    body = {"error": {"errorCode": code, "message": message, "details": details}}
    return JSONResponse(body, status_code=status, headers=headers)
