"""NHN Cloud, played: texts, AlimTalk, Brand Messages. Failures are HTTP 200 with a code."""

import base64
import json
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.cli.fakes.base import Taken
from services.cli.fakes.numbers import CutOff, NumberFake, fate_of


class FakeNhn(NumberFake):
    def __init__(self, app_key: str, secret: str, signature: str = "") -> None:
        super().__init__("nhn")
        self._signature = signature
        self._app_key = app_key
        self._secret = secret
        self.keys: set[str] = set()
        """Idempotency keys of AlimTalk; the fake forgets none."""
        self.templates: list[dict[str, Any]] = []
        """AlimTalk templates as NHN Cloud tells them: `templateCode`, `status`, …"""
        self.files: dict[int, bytes] = {}
        """What was uploaded, by id."""
        self.refusals: list[dict[str, str]] = []
        """`recipientNo` and `createDate` of who has refused by 080."""

    def asgi(self) -> Starlette:
        kakao = "/{product}/{version}/appkeys/{app_key}/{kind}"
        return self.app(
            Route("/sms/v3.0/appKeys/{app_key}/sender/{kind}", self._text, methods=["POST"]),
            Route(
                "/sms/v3.0/appKeys/{app_key}/attachfile/binaryUpload",
                self._store,
                methods=["POST"],
            ),
            Route(kakao, self._kakao, methods=["POST"]),
            Route(
                "/alimtalk/v2.3/appkeys/{app_key}/senders/{profile}/templates",
                self._templates,
                methods=["GET"],
            ),
            Route(
                "/sms/v3.0/appKeys/{app_key}/blockservice/recipients",
                self._refusals,
                methods=["GET"],
            ),
        )

    async def _templates(self, request: Request) -> Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        query = request.query_params
        size, number = int(query.get("pageSize", "15")), int(query.get("pageNum", "1"))
        page = self.templates[(number - 1) * size : number * size]
        listed = {"templates": page, "totalCount": len(self.templates)}
        return _said(0, "SUCCESS", {"templateListResponse": listed})

    async def _store(self, request: Request) -> Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        file = json.loads(await request.body())
        content = base64.b64decode(file["fileBody"])
        if not file["fileName"].endswith((".jpg", ".jpeg")) or len(file["fileName"]) > 45:
            return _said(-2001, "The 'fileName' is invalid.")
        if not content.startswith(b"\xff\xd8") or len(content) > 300_000:
            return _said(-2001, "The 'fileBody' is invalid.")
        number = 300_000 + len(self.files)
        self.files[number] = content
        data = {"fileId": number, "fileName": file["fileName"], "filePath": "/fake"}
        return _said(0, "SUCCESS", {"body": {"data": data}})

    async def _refusals(self, request: Request) -> Response:
        """Who has called the 080 number, in pages; its dates are those of Korea."""
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        query = request.query_params
        if not query.get("unsubscribeNo"):
            return _said(-2001, "The 'unsubscribeNo' must not be blank.")
        since = query.get("startRequestDate", "")
        found = [r for r in self.refusals if r["createDate"] >= since]
        size, number = int(query.get("pageSize", "15")), int(query.get("pageNum", "1"))
        page = found[(number - 1) * size : number * size]
        return _said(0, "SUCCESS", {"body": {"totalCount": len(found), "data": page}})

    def _wrong(self, request: Request) -> Response | None:
        self.requests += 1
        if request.path_params["app_key"] != self._app_key:
            self.refused.append("app key")
            return _said(-1000, "Invalid appKey.")
        if request.headers.get("x-secret-key") != self._secret:
            self.refused.append("secret key")
            return _said(-1001, "Invalid secretKey.")
        return None

    async def _text(self, request: Request) -> Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        body: dict[str, Any] = json.loads(await request.body())
        kind: str = request.path_params["kind"]
        (recipient,) = body["recipientList"]
        passing = self.passing(recipient["recipientNo"])
        if passing is not None:
            return _failed(passing)
        code = _text_code(kind, body, fate_of(recipient["recipientNo"]))
        if code:
            return _said(code, "says the fake")
        return self._taken("sms-" + kind, body["body"], recipient, body, kakao=False)

    async def _kakao(self, request: Request) -> Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        body: dict[str, Any] = json.loads(await request.body())
        (recipient,) = body["recipientList"]
        key = request.headers.get("x-nc-api-idempotency-key")
        if key in self.keys:
            return _said(-1005, "The same 'X-NC-API-IDEMPOTENCY-KEY' was used")
        passing = self.passing(recipient["recipientNo"])
        if passing is not None:
            return _failed(passing)
        if not body.get("senderKey"):
            return _said(-1006, "Plus friend don't have senderKey.")
        if request.path_params["product"] == "alimtalk" and not body.get("templateCode"):
            return _said(-2001, "The 'templateCode' must not be blank.")
        if key:
            self.keys.add(key)
        text = body.get("content") or recipient.get("content")
        written = text or json.dumps(recipient.get("templateParameter"), ensure_ascii=False)
        product = request.path_params["product"]
        return self._taken(product, written, recipient, body, kakao=True)

    def _tell(self, kind: str, number: str, reference: object, *, kakao: bool) -> None:
        channel = kind.replace("-", "_") if kakao else "sms"
        code = _CODES.get((fate_of(number), kakao), "1000")
        hook = {"recipientNo": number, "recipientGroupingKey": reference, "resultCode": code}
        body = {"event": "MESSAGE_RESULT_UPDATE", "hooks": [hook]}
        headers = {"x-toast-webhook-signature": self._signature}
        self.report(f"/receipts/{channel}?by=nhn", json=body, headers=headers)

    def _taken(
        self, kind: str, text: str, recipient: dict[str, Any], body: dict[str, Any], *, kakao: bool
    ) -> Response:
        request_id, number = uuid4().hex, recipient["recipientNo"]
        reference = recipient.get("recipientGroupingKey")
        self.taken.append(Taken(request_id, number, text, kind, reference, body))
        self._tell(kind, number, reference, kakao=kakao)
        if fate_of(number) == "taken-then-cut":
            return CutOff()
        result = {"recipientNo": number, "resultCode": 0, "resultMessage": "SUCCESS"}
        inner: dict[str, Any]
        if kakao:
            inner = {"message": {"requestId": request_id, "sendResults": [result]}}
        else:
            inner = {"body": {"data": {"requestId": request_id, "sendResultList": [result]}}}
        return _said(0, "SUCCESS", inner)


_CODES = {("nobody", False): "3001", ("no-kakao", True): "3019", ("outside-hours", True): "3022"}


def _text_code(kind: str, body: dict[str, Any], fate: str) -> int:
    ad = kind.startswith("ad-")
    if ad and (not body["body"].startswith("(광고)") or "무료" not in body["body"]):
        return -6003
    if ad and fate == "opted-out":
        return -6001
    if kind.endswith("mms") and not body.get("title"):
        return -2001
    return 0


def _said(code: int, message: str, more: dict[str, Any] | None = None) -> Response:
    header = {"isSuccessful": code == 0, "resultCode": code, "resultMessage": message}
    return JSONResponse({"header": header, **(more or {})})


def _failed(status: int) -> Response:
    headers = {"retry-after": "1"} if status == 429 else None
    return JSONResponse({"message": "says the fake"}, status_code=status, headers=headers)
