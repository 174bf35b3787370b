"""Amazon SES, API v2, played: it checks the signature of each request as Amazon does.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.cli.fakes.base import Condition, Fake, Taken
from shared.clock import wall_clock

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM} Credential=([^/]+)/(\d{{8}})/([a-z0-9-]+)/ses/aws4_request,"
    r" ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)
_LATE = timedelta(minutes=15)


class FakeSes(Fake):
    def __init__(self, key: str, secret: str, region: str) -> None:
        super().__init__("ses")
        self._key = key
        self._secret = secret
        self._region = region

    def asgi(self) -> Starlette:
        return self.app(Route("/v2/email/outbound-emails", self._send, methods=["POST"]))

    async def _send(self, request: Request) -> Response:
        raw = await request.body()
        wrong = self._not_ours(request, raw)
        if wrong is not None:
            self.refused.append(wrong)
            return _refusal(403, wrong)
        body: dict[str, Any] = await request.json()
        (address,) = body["Destination"]["ToAddresses"]
        condition = self.condition(address)
        if condition == "hang":
            return await self.say_nothing()
        refusal = _SES.get(condition)
        if refusal is not None:
            return _refusal(*refusal)
        taken = uuid4().hex
        simple = body["Content"]["Simple"]
        text = f"{simple['Subject']['Data']}\n{simple['Body']['Text']['Data']}"
        tags = {tag["Name"]: tag["Value"] for tag in body.get("EmailTags", ())}
        self.taken.append(Taken(taken, address, text, "email", tags.get("message_id"), body))
        if condition == "taken-then-silent":
            return await self.say_nothing()
        return JSONResponse({"MessageId": taken})

    def _not_ours(self, request: Request, body: bytes) -> str | None:
        """The name of Amazon's exception, or None."""
        found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if found is None:
            return "IncompleteSignatureException"
        key, day, region, signed, signature = found.groups()
        if key != self._key:
            return "UnrecognizedClientException"
        at = request.headers.get("x-amz-date", "")
        try:
            stamped = datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            return "IncompleteSignatureException"
        wanted = self._signature(request, body, at, signed.split(";"))
        fits = hmac.compare_digest(wanted, signature) and region == self._region
        late = abs(wall_clock() - stamped) > _LATE or not at.startswith(day)
        return None if fits and not late and "host" in signed else "InvalidSignatureException"

    def _signature(self, request: Request, body: bytes, at: str, names: list[str]) -> str:
        headers = "".join(f"{n}:{' '.join(request.headers.get(n, '').split())}\n" for n in names)
        canonical = "\n".join(
            (
                request.method,
                quote(request.url.path, safe="/~"),
                request.url.query,
                headers,
                ";".join(names),
                sha256(body).hexdigest(),
            )
        )
        scope = f"{at[:8]}/{self._region}/ses/aws4_request"
        text = "\n".join((_ALGORITHM, at, scope, sha256(canonical.encode()).hexdigest()))
        key = f"AWS4{self._secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()


def _refusal(status: int, name: str) -> Response:
    headers = {"x-amzn-errortype": name}
    if status == 429:
        headers["retry-after"] = "3"
    return JSONResponse({"message": f"{name}, says the fake"}, status, headers)


_SES: dict[Condition, tuple[int, str]] = {
    "nobody": (400, "MessageRejected"),
    "refused": (400, "BadRequestException"),
    "throttled": (429, "TooManyRequestsException"),
    "unavailable": (503, "ServiceUnavailable"),
    "error": (500, "InternalFailure"),
}
