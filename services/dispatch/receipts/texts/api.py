"""`POST /receipts/sms?by=<provider>` (`alimtalk`, `brand_message`): what became of messages.

Answered with 200 once everything is stored (to Bizgo, with its own key of the message: it repeats
what is answered otherwise); with 503 while the database is away, so that the
provider sends it again.
"""

import time
from collections.abc import Mapping
from urllib.parse import parse_qsl

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from services.dispatch import metrics
from services.dispatch.receipts.answers import refused
from services.dispatch.receipts.texts.readings import (
    Refusal,
    Report,
    Return,
    key_in,
    read_bizgo,
    read_nhn,
    read_solapi,
    read_twilio,
)
from services.dispatch.receipts.texts.store import Reports
from services.dispatch.receipts.texts.verify import BIZGO_STAMP, SECRETS, Seen, is_genuine
from shared.bodies import bounded
from shared.clock import Clock
from shared.errors import Unavailable

logger = structlog.get_logger()

TEXTS = ("sms", "alimtalk", "brand_message")
_SAID = {Refusal: "refused", Return: "taken back"}
_READ = {"bizgo": read_bizgo, "nhn": read_nhn, "solapi": read_solapi}
_NAMES = "solapi, nhn, bizgo or twilio"
_LONGEST_BODY = 15_000_000
"""SOLAPI's own bound for one request."""


def report_routes(
    reports: Reports, clock: Clock, environment: Mapping[str, str], public_url: str | None
) -> APIRouter:
    # Providers call it, not the clients that the schema is for.
    router = APIRouter(tags=["receipts"], include_in_schema=False)

    async def receive(request: Request) -> Response:
        """A provider's reports. `by` names it: `solapi`, `nhn`, `bizgo` or `twilio`."""
        channel = request.url.path.rpartition("/")[2]
        query = dict(request.query_params)
        provider = query.get("by", "")
        if provider not in SECRETS:
            return refused(404, "not_found", f"use /receipts/{channel}?by={_NAMES}")
        secret = environment.get(SECRETS[provider], "")
        if not secret:
            return refused(
                503, "not_configured", f"{SECRETS[provider]} is not set: it cannot be checked"
            )
        body = await bounded(request.stream(), _LONGEST_BODY)
        if body is None:
            return refused(413, "too_large", "a report has at most 15,000,000 bytes")
        form = _form(body) if provider == "twilio" else {}
        base = (public_url or str(request.base_url)).rstrip("/")
        url = f"{base}{request.url.path}?{request.url.query}"
        now = time.time()  # noqa: TID251 - senders stamp by real time
        if not is_genuine(provider, secret, Seen(request.headers, query, form, url, now)):
            logger.warning("a report was not signed as it should be", action="report_refused")
            return refused(401, "not_theirs", "this is not signed as the provider signs it")
        try:
            stamp = request.headers.get(BIZGO_STAMP, "")
            if provider == "bizgo" and not await reports.stamps.belongs(provider, stamp, body):
                logger.warning("a report bears another's signature", action="report_refused")
                return refused(401, "replayed", "its signature was used for another report")
            return await _taken(reports, clock, channel, provider, body, form, query)
        except Unavailable:
            return refused(503, "unavailable", "it cannot be kept just now: send it again")

    for channel in TEXTS:
        router.add_api_route(
            f"/receipts/{channel}", receive, methods=["POST"], name=f"reports-{channel}"
        )
    return router


async def _taken(
    reports: Reports,
    clock: Clock,
    channel: str,
    provider: str,
    body: bytes,
    form: Mapping[str, str],
    query: Mapping[str, str],
) -> Response:
    """Raises Unavailable."""
    if provider == "twilio":
        readings = list(read_twilio(form, channel, query))
    else:
        readings = list(_READ[provider](body, channel, query))
    changed = 0
    for reading in readings:
        of = (reading.channel if isinstance(reading, Report) else None) or channel
        taken = await reports.take(reading, of, provider, clock.now())
        changed += taken
        outcome = str(reading.outcome) if isinstance(reading, Report) else _SAID[type(reading)]
        if taken:
            metrics.RECEIPTS.labels(of, outcome, "provider").inc()
    if provider == "bizgo":
        return JSONResponse({"msgKey": key_in(body)})
    return JSONResponse({"reports": len(readings), "changed": changed})


def _form(body: bytes) -> dict[str, str]:
    text = body[:100_000].decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=200))
    except ValueError:
        return {}
