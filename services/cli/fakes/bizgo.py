"""Bizgo (Infobank), played: one request for all channels, its keys, its signed webhooks."""

import hmac
import json
import time
from email import message_from_bytes
from email.message import Message
from hashlib import sha256
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.cli.fakes.base import Taken
from services.cli.fakes.numbers import CutOff, NumberFake, fate_of

_DELIVERED = ("10000", "성공")
_TEXT_FAILED = {"nobody": ("23001", "가입자 없음")}
_KAKAO_FAILED = {
    "no-kakao": ("63019", "톡 유저가 아님"),
    "outside-hours": ("63022", "시간 아님"),
}
_ON_ITS_WAY = 1
"""As often a message is not known yet when its report is asked for."""


class FakeBizgo(NumberFake):
    def __init__(self, key: str, secret: str = "") -> None:
        """`secret`: of its webhooks; without it, it calls nobody back."""
        super().__init__("bizgo")
        self._key = key
        self._secret = secret
        self.keys: dict[str, str] = {}
        """Idempotency key → the message that was taken under it; the fake forgets none."""
        self.files: dict[str, bytes] = {}
        """What was uploaded, by key."""
        self.asked_for: dict[str, int] = {}
        """How often each report was asked for, by message key."""

    def asgi(self) -> Starlette:
        place = "/api/comm/v1"
        return self.app(
            Route(f"{place}/send/omni", self._send, methods=["POST"]),
            Route(f"{place}/file/mms", self._store, methods=["POST"]),
            Route(f"{place}/report/inquiry/{{message}}", self._inquiry, methods=["GET"]),
        )

    def _wrong(self, request: Request) -> Response | None:
        if request.headers.get("authorization") == self._key:
            return None
        self.refused.append("api key")
        common = {"authCode": "A401", "authResult": "Unauthorized", "infobankTrId": "fake"}
        return JSONResponse({"common": common}, status_code=401)

    async def _store(self, request: Request) -> Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        content = _file(request.headers["content-type"], await request.body())
        if content is None or not content.startswith(b"\xff\xd8"):
            return _service("A202", 400)
        if len(content) > 300_000:
            return _service("A200", 400)
        name = f"FILE{uuid4().hex.upper()}"
        self.files[name] = content
        return _service("A000", data={"fileKey": name, "expired": "2027-04-24T10:45:24+09:00"})

    async def _send(self, request: Request) -> Response:
        self.requests += 1
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        body: dict[str, Any] = json.loads(await request.body())
        (recipient,), (flow,) = body["destinations"], body["messageFlow"]
        key, number = body.get("idempotencyKey"), recipient["to"]
        if key is not None and not 0 <= body.get("idempotencyTtl", -1) <= 86_400:
            return _service("A309", 400)
        known = self.keys.get(key or "")
        if known is not None:
            return _answered(number, known, "A301", "Duplicate idempotencyKey")
        passing = self.passing(number)
        if passing is not None:
            return _service("A020" if passing == 429 else "A999", passing)
        ((kind, written),) = flow.items()
        code = _fault(kind, written, recipient)
        if code is not None:
            return _answered(number, f"{uuid4().hex}000", code, "says the fake")
        return self._take(kind, written, recipient, body)

    def _take(
        self, kind: str, written: dict[str, Any], recipient: dict[str, Any], body: dict[str, Any]
    ) -> Response:
        number, message_key = recipient["to"], f"{uuid4().hex}000"
        values = recipient.get("replaceWords")
        text = written.get("text") or json.dumps(values, ensure_ascii=False)
        if "fileKey" in written:
            kind = "mms"
        elif kind == "mms":
            kind = "lms"
        taken = Taken(message_key, number, text, kind, recipient.get("ref"), body)
        self.taken.append(taken)
        if body.get("idempotencyKey"):
            self.keys[body["idempotencyKey"]] = message_key
        if self._secret:
            self.tell(taken)
        if fate_of(number) == "taken-then-cut":
            return CutOff()
        return _answered(number, message_key, "A000", "Success")

    def tell(self, taken: Taken) -> None:
        """By webhook. Bizgo does not say which channel's address it calls: there is one for all."""
        self.report("/receipts/sms?by=bizgo", json=report_of(taken), headers=self.signed())

    def signed(self, stamp: str | None = None) -> dict[str, str]:
        """The headers of a webhook: the time alone is signed."""
        stamp = stamp or str(time.time_ns() // 1_000_000)
        signature = hmac.new(self._secret.encode(), stamp.encode(), sha256).hexdigest()
        return {"x-ib-timestamp": stamp, "x-ib-signature": signature}

    async def _inquiry(self, request: Request) -> Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        name = request.path_params["message"]
        self.asked_for[name] = self.asked_for.get(name, 0) + 1
        taken = next((t for t in self.taken if t.id == name), None)
        if taken is None:
            return _service("A820", 400)
        told = [] if self.asked_for[name] <= _ON_ITS_WAY else [report_of(taken)]
        return _service("A000", data={"report": told})


def report_of(taken: Taken) -> dict[str, Any]:
    kakao = taken.kind in ("alimtalk", "brandmessage")
    code, said = (_KAKAO_FAILED if kakao else _TEXT_FAILED).get(fate_of(taken.to), _DELIVERED)
    if code == "63022" and taken.kind == "alimtalk":
        code, said = _DELIVERED
    report = {"msgKey": taken.id, "serviceType": taken.kind.upper(), "msgType": "SM"}
    report |= {"reportTime": "2026-03-02T23:00:01.000+09:00", "reportType": taken.kind.upper()}
    return {**report, "reportCode": code, "reportText": said, "ref": taken.key}


def _fault(kind: str, written: dict[str, Any], recipient: dict[str, Any]) -> str | None:
    """The code by which Bizgo refuses this for its recipient, or None."""
    if kind in ("sms", "mms", "international"):
        size = len(written["text"].encode("cp949", "replace"))
        if not written.get("from"):
            return "A302"
        return "A328" if size > (2000 if kind == "mms" else 90) else None
    if not written.get("senderKey"):
        return "A502"
    if kind == "brandmessage":
        return "A571" if written.get("sendType") != "free" else None
    if not written.get("templateCode"):
        return "A505"
    if written.get("sendType") == "template":
        return None if recipient.get("replaceWords") else "A300"
    return None if written.get("msgType") and written.get("text") else "A523"


def _file(kind: str, body: bytes) -> bytes | None:
    whole = message_from_bytes(f"content-type: {kind}\r\n\r\n".encode() + body)
    for part in whole.get_payload() if whole.is_multipart() else ():
        assert isinstance(part, Message)
        if part.get_param("name", header="content-disposition") == "file":
            content = part.get_payload(decode=True)
            return content if isinstance(content, bytes) else None
    return None


def _answered(number: str, message_key: str, code: str, result: str) -> Response:
    each = {"to": number, "msgKey": message_key, "code": code, "result": result}
    return _service("A000", data={"destinations": [each]})


def _service(code: str, status: int = 200, data: dict[str, Any] | None = None) -> Response:
    headers = {"retry-after": "1"} if status == 429 else None
    result = "Success" if code == "A000" else "says the fake"
    common = {"authCode": "A000", "authResult": "Success", "infobankTrId": "fake"}
    service = {"code": code, "result": result, **({} if data is None else {"data": data})}
    return JSONResponse({"common": common, "data": service}, status_code=status, headers=headers)
