"""Resend and SendGrid, played."""

import hashlib
import json
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.cli.fakes.base import Condition, Fake, Taken


class FakeResend(Fake):
    """`POST /emails` with a bearer key and `Idempotency-Key`, as Resend documents it."""

    def __init__(self, key: str) -> None:
        super().__init__("resend")
        self._key = key
        self._known: dict[str, tuple[str, str]] = {}
        """Idempotency key → hash of the body, and the id that was answered."""

    def asgi(self) -> Starlette:
        return self.app(Route("/emails", self._send, methods=["POST"]))

    async def _send(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self._key}":
            return self.unauthorized("API key is invalid")
        raw = await request.body()
        body: dict[str, Any] = json.loads(raw)
        key = request.headers.get("idempotency-key")
        digest = hashlib.sha256(raw).hexdigest()
        if key is not None and key in self._known:
            known, answered = self._known[key]
            if known != digest:
                return _resend_error(409, "invalid_idempotent_request")
            return JSONResponse({"id": answered})
        condition = self.condition(body["to"][0])
        if condition == "hang":
            return await self.say_nothing()
        error = _RESEND.get(condition)
        if error is not None:
            return _resend_error(*error)
        taken = str(uuid4())
        self.taken.append(Taken(taken, body["to"][0], body["text"], "email", key, body))
        if key is not None:
            self._known[key] = (digest, taken)
        if condition == "taken-then-silent":
            return await self.say_nothing()
        return JSONResponse({"id": taken})


_RESEND: dict[Condition, tuple[int, str]] = {
    "nobody": (422, "validation_error"),
    "refused": (422, "invalid_attachment"),
    "throttled": (429, "rate_limit_exceeded"),
    "unavailable": (503, "service_unavailable"),
    "error": (500, "internal_server_error"),
}


def _resend_error(status: int, name: str) -> Response:
    headers = {"retry-after": "3"} if status == 429 else None
    return JSONResponse(
        {"statusCode": status, "name": name, "message": f"{name}, says the fake"},
        status_code=status,
        headers=headers,
    )


class FakeSendGrid(Fake):
    """`POST /v3/mail/send` with a bearer key; it has no idempotency key."""

    def __init__(self, key: str) -> None:
        super().__init__("sendgrid")
        self._key = key

    def asgi(self) -> Starlette:
        return self.app(Route("/v3/mail/send", self._send, methods=["POST"]))

    async def _send(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self._key}":
            return self.unauthorized("The provided authorization grant is invalid")
        body: dict[str, Any] = json.loads(await request.body())
        (person,) = body["personalizations"]
        address = person["to"][0]["email"]
        condition = self.condition(address)
        if condition == "hang":
            return await self.say_nothing()
        status = _SENDGRID.get(condition)
        if status is not None:
            headers = {"retry-after": "3"} if status == 429 else None
            errors = [{"message": f"{condition}, says the fake", "field": None}]
            return JSONResponse({"errors": errors}, status_code=status, headers=headers)
        text = next(c["value"] for c in body["content"] if c["type"] == "text/plain")
        taken = uuid4().hex
        reference = body.get("custom_args", {}).get("message_id")
        self.taken.append(Taken(taken, address, text, "email", reference, body))
        if condition == "taken-then-silent":
            return await self.say_nothing()
        return Response(status_code=202, headers={"x-message-id": taken})


_SENDGRID: dict[Condition, int] = {
    "nobody": 400,
    "refused": 413,
    "throttled": 429,
    "unavailable": 503,
    "error": 500,
}
