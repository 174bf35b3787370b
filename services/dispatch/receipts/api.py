"""`POST /receipts/email`: what mail providers report, verified on the raw bytes before it is read.

Which provider it is its own headers say. An answer of 2xx means that the report is kept; anything
else lets the provider try again.
"""

import time
from collections.abc import Mapping
from typing import Annotated

import httpx
import structlog
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from services.dispatch.receipts import resend, sendgrid, ses
from services.dispatch.receipts.answers import refused
from services.dispatch.receipts.report import NotTheirs, Report
from services.dispatch.receipts.store import Receipts
from shared.bodies import bounded
from shared.clock import Clock
from shared.errors import ConfigurationError, NotFound, Unavailable
from shared.standard_webhooks import read_secrets

logger = structlog.get_logger()

_LONGEST = 1_000_000
_RESEND = "DANGOL_RESEND_WEBHOOK_SECRET"
_SENDGRID = "DANGOL_SENDGRID_WEBHOOK_KEY"
_SES = "DANGOL_SES_TOPIC_ARN"


class Desk:
    """Reads reports with the secrets of the environment."""

    def __init__(self, environment: Mapping[str, str], fetch: ses.Fetch | None = None) -> None:
        self._environment = environment
        self._fetch = fetch or _fetched
        self._ses: ses.Reader | None = None

    async def read(self, headers: Mapping[str, str], body: bytes) -> list[Report]:
        """Raises NotTheirs, or ConfigurationError where the secret that checks it is not set."""
        now = int(time.time())  # noqa: TID251 - senders stamp by real time
        if "svix-signature" in headers:
            return resend.read(headers, body, read_secrets(self._secret(_RESEND), _RESEND), now)
        if "x-twilio-email-event-webhook-signature" in headers:
            return sendgrid.read(headers, body, sendgrid.public_key(self._secret(_SENDGRID)), now)
        if "x-amz-sns-message-type" in headers:
            if self._ses is None:
                self._ses = ses.Reader(self._secret(_SES), self._fetch)
            return await self._ses.read(body, now)
        raise NotTheirs("no provider's signature is on it")

    def _secret(self, name: str) -> str:
        found = self._environment.get(name)
        if not found:
            raise ConfigurationError(
                f"{name} is not set", hint="reports cannot be checked without it"
            )
        return found


async def _fetched(url: str) -> bytes:
    """From a host that has been checked; nothing is followed."""
    try:
        async with httpx.AsyncClient(timeout=10, follow_redirects=False) as client:
            answer = await client.get(url)
    except httpx.HTTPError as error:
        raise NotTheirs("the certificate cannot be fetched") from error
    if answer.status_code != 200 or len(answer.content) > _LONGEST:
        raise NotTheirs("the certificate cannot be fetched")
    return answer.content


def receipt_routes(receipts: Receipts, desk: Desk, clock: Clock) -> APIRouter:
    router = APIRouter(tags=["receipts"])

    @router.post("/receipts/{channel}", include_in_schema=False)
    async def take(channel: Annotated[str, Path(examples=["email"])], request: Request) -> Response:
        """What a provider reports of messages it has taken."""
        if channel != "email":
            raise NotFound(f"no provider reports on the channel {channel[:40]}")
        body = await bounded(request.stream(), _LONGEST)
        if body is None:
            return refused(413, "too_large", "a report has at most 1,000,000 bytes")
        try:
            reports = await desk.read(request.headers, body)
            await receipts.keep(reports, clock.now())
        except NotTheirs as error:
            return refused(401, "not_theirs", str(error))
        except ConfigurationError as error:
            logger.warning("a report cannot be checked", action="receipt_unchecked", why=str(error))
            return refused(503, "not_configured", str(error))
        except Unavailable:
            return refused(503, "unavailable", "the database is away")
        return Response(status_code=204)

    return router
