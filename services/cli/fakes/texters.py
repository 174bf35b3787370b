"""Aligo and Twilio, played: forms are posted, and neither has an idempotency key."""

import base64
import time
from email import message_from_bytes
from email.message import Message
from urllib.parse import parse_qsl
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.cli.fakes.base import Taken
from services.cli.fakes.numbers import CutOff, NumberFake, fate_of


class FakeAligo(NumberFake):
    """`POST /send/`: HTTP 200 with a `result_code`, 1 where it was taken."""

    def __init__(self, key: str, user: str) -> None:
        super().__init__("aligo")
        self._account = (key, user)
        self.pictures: list[bytes] = []
        self._seen: set[str] = set()
        """Messages that have been asked for."""
        self.asked_for: list[float] = []
        """When reports were asked for, by `clock`."""
        self.clock = time.monotonic

    def asgi(self) -> Starlette:
        return self.app(
            Route("/send/", self._send, methods=["POST"]),
            Route("/sms_list/", self._list, methods=["POST"]),
        )

    async def _list(self, request: Request) -> Response:
        """A message is on its way the first time that it is asked for."""
        self.asked_for.append(self.clock())
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        if (form.get("key"), form.get("user_id")) != self._account:
            self.refused.append("account")
            return _aligo(-101, "인증오류입니다.")
        found = [taken for taken in self.taken if taken.id == form.get("mid")]
        seen = [taken.id for taken in found if taken.id in self._seen]
        self._seen.update(taken.id for taken in found)
        state = "발송완료" if seen else "전송중"
        if seen and fate_of(found[0].to) == "nobody":
            state = "전송실패(결번)"
        listed = [{"receiver": t.to, "sms_state": state, "type": t.kind} for t in found]
        return _aligo(1, "success", list=listed, next_yn="N")

    async def _send(self, request: Request) -> Response:
        self.requests += 1
        form, picture = _aligo_form(request.headers["content-type"], await request.body())
        if (form.get("key"), form.get("user_id")) != self._account:
            self.refused.append("account")
            return _aligo(-101, "인증오류입니다.")
        if (form["msg_type"] == "MMS") != (picture is not None):
            return _aligo(-106, "이미지 파일 오류")
        if picture is not None:
            self.pictures.append(picture)
        number = form["receiver"]
        passing = self.passing(number)
        if passing is not None:
            headers = {"retry-after": "1"} if passing == 429 else None
            return Response("says the fake", status_code=passing, headers=headers)
        if not form.get("sender"):
            return _aligo(-103, "발신번호 인증 오류")
        size, kind = len(form["msg"].encode("cp949", "replace")), form["msg_type"]
        if size > (90 if kind == "SMS" else 2000):
            return _aligo(-105, "메시지 길이 오류")
        taken = str(uuid4().int)[:9]
        self.taken.append(Taken(taken, number, form["msg"], kind, None, dict(form)))
        if fate_of(number) == "taken-then-cut":
            return CutOff()
        more = {"msg_id": taken, "success_cnt": 1, "error_cnt": 0, "msg_type": kind}
        return _aligo(1, "success", **more)


def _aligo_form(kind: str, body: bytes) -> tuple[dict[str, str], bytes | None]:
    """A form with, perhaps, the file `image1`."""
    if not kind.startswith("multipart/form-data"):
        return dict(parse_qsl(body.decode(), keep_blank_values=True)), None
    whole = message_from_bytes(f"content-type: {kind}\r\n\r\n".encode() + body)
    form: dict[str, str] = {}
    picture = None
    for part in whole.get_payload():
        assert isinstance(part, Message)
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        name = str(part.get_param("name", header="content-disposition"))
        if name == "image1":
            picture = content
        else:
            form[name] = content.decode()
    return form, picture


def _aligo(code: int, message: str, **more: object) -> Response:
    # Its own answers are JSON that is labelled as HTML.
    body = JSONResponse({"result_code": str(code), "message": message, **more}).body
    return Response(body, media_type="text/html")


class FakeTwilio(NumberFake):
    """`POST /2010-04-01/Accounts/{sid}/Messages.json` with basic authentication."""

    def __init__(self, account: str, token: str) -> None:
        super().__init__("twilio")
        self._path = f"/2010-04-01/Accounts/{account}/Messages.json"
        self._basic = "Basic " + base64.b64encode(f"{account}:{token}".encode()).decode()

    def asgi(self) -> Starlette:
        return self.app(Route(self._path, self._send, methods=["POST"]))

    async def _send(self, request: Request) -> Response:
        self.requests += 1
        if request.headers.get("authorization") != self._basic:
            self.refused.append("authentication")
            return _twilio(401, 20003, "Authenticate")
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        number, body = form["To"], form["Body"]
        passing = self.passing(number)
        if passing == 429:
            return _twilio(429, 20429, "Too Many Requests")
        if passing is not None:
            return _twilio(passing, 20500, "Internal Server Error")
        if not (form.get("From") or form.get("MessagingServiceSid")):
            return _twilio(400, 21603, "A 'From' phone number is required")
        if fate_of(number) == "nobody":
            return _twilio(400, 21614, f"'To' number {number} is not a valid mobile number")
        if fate_of(number) == "opted-out":
            return _twilio(400, 21610, "Attempt to send to unsubscribed recipient")
        taken = f"SM{uuid4().hex}"
        self.taken.append(Taken(taken, number, body, "SMS", None, dict(form)))
        if fate_of(number) == "taken-then-cut":
            return CutOff()
        return JSONResponse({"sid": taken, "status": "queued", "error_code": None}, status_code=201)


def _twilio(status: int, code: int, message: str) -> Response:
    headers = {"retry-after": "1"} if status == 429 else None
    body = {"code": code, "message": message, "status": status, "more_info": ""}
    return JSONResponse(body, status_code=status, headers=headers)
