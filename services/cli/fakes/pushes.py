"""Firebase, Apple's push service and a browser's push service, played.

Each checks who asks as the real one does: Firebase's token endpoint verifies the assertion's RSA
signature, Apple's its ES256 token and its age, the push service the VAPID token and, with a
browser's own keys, that the message can be decrypted.
"""

import base64
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import http_ece
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.cli.fakes.base import Condition, Fake, Taken

_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"


class FakeFcm(Fake):
    def __init__(self, project: str, public_key: Any) -> None:
        super().__init__("fcm")
        self._project = project
        self._public_key = public_key
        self._tokens: set[str] = set()
        self.url = ""
        """Its own, for the assertion's audience."""

    def asgi(self) -> Starlette:
        send = f"/v1/projects/{self._project}/messages:send"
        return self.app(
            Route("/token", self._grant, methods=["POST"]),
            Route(send, self._send, methods=["POST"]),
        )

    async def _grant(self, request: Request) -> Response:
        form = dict(pair.split("=", 1) for pair in (await request.body()).decode().split("&"))
        try:
            jwt.decode(
                form["assertion"],
                self._public_key,
                algorithms=["RS256"],
                audience=f"{self.url}/token",
            )
        except (jwt.PyJWTError, KeyError) as error:
            self.refused.append(type(error).__name__)
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        token = uuid4().hex
        self._tokens.add(token)
        return JSONResponse({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

    def revoke(self) -> None:
        self._tokens.clear()

    async def _send(self, request: Request) -> Response:
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self._tokens:
            return self.unauthorized("UNAUTHENTICATED")
        message: dict[str, Any] = (await request.json())["message"]
        condition = self.condition(message["token"])
        if condition == "hang":
            return await self.say_nothing()
        error = _FCM.get(condition)
        if error is not None:
            status, code = error
            details = [{"@type": _FCM_ERROR, "errorCode": code}]
            content = {"error": {"code": status, "message": "says the fake", "details": details}}
            headers = {"retry-after": "60"} if status == 429 else None
            return JSONResponse(content, status_code=status, headers=headers)
        taken = f"projects/{self._project}/messages/{uuid4().hex}"
        text = f"{message['notification']['title']}\n{message['notification']['body']}"
        key = message["data"]["message_id"]
        self.taken.append(Taken(taken, message["token"], text, "push", key, message))
        if condition == "taken-then-silent":
            return await self.say_nothing()
        return JSONResponse({"name": taken})


_FCM: dict[Condition, tuple[int, str]] = {
    "nobody": (404, "UNREGISTERED"),
    "refused": (400, "INVALID_ARGUMENT"),
    "throttled": (429, "QUOTA_EXCEEDED"),
    "unavailable": (503, "UNAVAILABLE"),
    "error": (500, "INTERNAL"),
}


class FakeApns(Fake):
    def __init__(self, public_key: Any, team: str, topic: str) -> None:
        super().__init__("apns")
        self._public_key = public_key
        self._team = team
        self._topic = topic
        self.gone_since = 1_772_452_800_000
        """Of a 410, in milliseconds."""
        self.versions: set[str] = set()
        """Of HTTP, as they were spoken."""

    def asgi(self) -> Starlette:
        return self.app(Route("/3/device/{token}", self._send, methods=["POST"]))

    async def _send(self, request: Request) -> Response:
        self.versions.add(request.scope["http_version"])
        token = request.path_params["token"]
        reason = self._not_ours(request)
        if reason is not None:
            self.refused.append(reason)
            return JSONResponse({"reason": reason}, status_code=403)
        condition = self.condition(token)
        if condition == "hang":
            return await self.say_nothing()
        error = _APNS.get(condition)
        if error is not None:
            more = {"timestamp": self.gone_since} if error[0] == 410 else {}
            return JSONResponse({"reason": error[1], **more}, status_code=error[0])
        body: dict[str, Any] = await request.json()
        alert = body["aps"]["alert"]
        text = f"{alert['title']}\n{alert['body']}"
        taken = request.headers["apns-id"]
        self.taken.append(Taken(taken, token, text, "push", body["message_id"], body))
        if condition == "taken-then-silent":
            return await self.say_nothing()
        return Response(status_code=200, headers={"apns-id": taken})

    def _not_ours(self, request: Request) -> str | None:
        bearer = request.headers.get("authorization", "").removeprefix("bearer ")
        try:
            claims = jwt.decode(bearer, self._public_key, algorithms=["ES256"])
        except jwt.PyJWTError:
            return "InvalidProviderToken"
        if claims.get("iss") != self._team:
            return "InvalidProviderToken"
        if abs(time.time() - claims["iat"]) > 3600:  # noqa: TID251 - as Apple checks it
            return "ExpiredProviderToken"
        return None if request.headers.get("apns-topic") == self._topic else "TopicDisallowed"


_APNS: dict[Condition, tuple[int, str]] = {
    "nobody": (410, "Unregistered"),
    "refused": (413, "PayloadTooLarge"),
    "throttled": (429, "TooManyRequests"),
    "unavailable": (503, "ServiceUnavailable"),
    "error": (500, "InternalServerError"),
}


@dataclass(slots=True)
class Browser:
    """One browser's subscription, with the keys that only it has."""

    endpoint: str
    key: ec.EllipticCurvePrivateKey
    auth: bytes

    @property
    def subscription(self) -> dict[str, Any]:
        raw = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {
            "endpoint": self.endpoint,
            "expirationTime": None,
            "keys": {"p256dh": _b64(raw), "auth": _b64(self.auth)},
        }


class FakePushService(Fake):
    """`/push/{id}` of subscriptions that `subscribe` has made; by hand, `/subscription/{id}`."""

    def __init__(self, application_key: str) -> None:
        super().__init__("web_push")
        self._application_key = application_key
        self._browsers: dict[str, Browser] = {}
        self.url = ""

    def asgi(self) -> Starlette:
        return self.app(
            Route("/push/{name}", self._push, methods=["POST"]),
            Route("/subscription/{name}", self._subscription, methods=["GET"]),
        )

    async def _subscription(self, request: Request) -> Response:
        """What a browser of this name would tell the shop: the trait `web_push`."""
        return JSONResponse(self.subscribe(request.path_params["name"]))

    def subscribe(self, name: str) -> dict[str, Any]:
        """`name` may be a condition, such as `nobody`."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._browsers[name] = Browser(f"{self.url}/push/{name}", key, uuid4().bytes)
        return self._browsers[name].subscription

    async def _push(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not self._is_ours(request):
            return self.unauthorized("the VAPID token does not fit")
        condition = self.condition(name)
        if condition == "hang":
            return await self.say_nothing()
        status = _PUSH.get(condition)
        if status is not None:
            headers = {"retry-after": "3"} if status == 429 else None
            return Response(status_code=status, headers=headers)
        browser = self._browsers.get(name)
        if browser is None:
            return Response(status_code=410)
        plain = http_ece.decrypt(
            await request.body(),
            private_key=browser.key,
            auth_secret=browser.auth,
            version=request.headers["content-encoding"],
        )
        content: dict[str, Any] = msgspec.json.decode(plain)
        text = f"{content['title']}\n{content['body']}"
        location = f"{self.url}/message/{uuid4().hex}"
        key = content["message_id"]
        self.taken.append(Taken(location, name, text, "web_push", key, content))
        if condition == "taken-then-silent":
            return await self.say_nothing()
        return Response(status_code=201, headers={"location": location})

    def _is_ours(self, request: Request) -> bool:
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
        if scheme != "vapid" or parts.get("k") != self._application_key:
            return False
        point = base64.urlsafe_b64decode(parts["k"] + "=")
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        there = urlsplit(self.url)
        origin = f"{there.scheme}://{there.netloc}"
        try:
            claims = jwt.decode(parts["t"], public, algorithms=["ES256"], audience=origin)
        except jwt.PyJWTError:
            return False
        left = claims["exp"] - time.time()  # noqa: TID251 - as push services check it
        return 0 < left <= 86_400 and "ttl" in request.headers


_PUSH: dict[Condition, int] = {
    "nobody": 410,
    "refused": 413,
    "throttled": 429,
    "unavailable": 503,
    "error": 500,
}


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
