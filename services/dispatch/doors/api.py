"""The doors over HTTP.

`POST /u/{token}` unsubscribes at once: with `List-Unsubscribe=One-Click` (RFC 8058), as mailbox
providers send it, without cookies, login or redirects. `GET` only shows a page: scanners follow
links. `/c/{token}` counts a click and leads on; `/o/{token}` is a picture of one dot.
"""

import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from services.dispatch import metrics
from services.dispatch.doors.links import Click, Leave, Links, Opening
from services.dispatch.doors.pages import HEADERS, notice_page, preference_page
from services.dispatch.doors.store import Doors, Statement
from services.dispatch.doors.tracking import who_asks
from services.dispatch.doors.wording import WORDS, Language
from shared.bodies import bounded
from shared.clock import Clock
from shared.errors import Unavailable

logger = structlog.get_logger()

_LONGEST_FORM = 10_000
_DOT = bytes.fromhex(
    "47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b"
)


@dataclass(frozen=True, slots=True)
class Reception:
    """What the routes need."""

    doors: Doors
    links: Callable[[], Awaitable[Links]]
    channels: Callable[[], Awaitable[tuple[str, ...]]]
    """Those that customers may be asked about, `night` included where a pack knows it."""
    clock: Clock


_OTHERS: dict[int | str, dict[str, Any]] = {
    404: {"description": "A token that this installation did not make"},
    503: {"description": "Our trouble: nothing has been changed"},
}
_LEADS: dict[int | str, dict[str, Any]] = {302: {"description": "To where the template led"}}


_DOTS: dict[int | str, dict[str, Any]] = {200: {"content": {"image/gif": {}}}}


def door_routes(reception: Reception) -> APIRouter:
    router = APIRouter(tags=["doors"], default_response_class=HTMLResponse, responses=_OTHERS)

    @router.get("/u/{token}")
    async def preferences(token: str, request: Request) -> Response:
        """The preference page. Changes nothing."""
        return await _or_away(request, _shown(reception, token, _language(request)))

    @router.post("/u/{token}")
    async def state(token: str, request: Request) -> Response:
        """One-click unsubscribing, and what the page's forms send."""
        return await _or_away(request, _stated(reception, token, request))

    @router.api_route("/c/{token}", methods=["GET", "HEAD"], status_code=302, responses=_LEADS)
    async def click(token: str, request: Request) -> Response:
        """Counts a person's click and leads to where the template led."""
        return await _or_away(request, _clicked(reception, token, request))

    @router.api_route(
        "/o/{token}", methods=["GET", "HEAD"], response_class=Response, responses=_DOTS
    )
    async def opening(token: str, request: Request) -> Response:
        """Counts an opening."""
        return await _opened(reception, token, request)

    return router


def _language(request: Request) -> Language:
    wanted = request.query_params.get("lang")
    if wanted in ("ko", "en"):
        return "ko" if wanted == "ko" else "en"
    for each in request.headers.get("accept-language", "").lower().split(","):
        if (spoken := each.strip()[:2]) in ("ko", "en"):
            return "ko" if spoken == "ko" else "en"
    return "en"


def _html(text: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(text, status_code=status, headers=HEADERS)


def _not_ours(language: Language) -> HTMLResponse:
    words = WORDS[language]
    return _html(notice_page(language, words.unknown_title, words.unknown), 404)


async def _shown(
    reception: Reception, token: str, language: Language, done: str = ""
) -> HTMLResponse:
    leave = (await reception.links()).read(token)
    if not isinstance(leave, Leave):
        return _not_ours(language)
    consents = await reception.doors.consents(leave.customer)
    return _html(preference_page(language, await reception.channels(), consents, done))


async def _or_away(request: Request, answer: Coroutine[Any, Any, Response]) -> Response:
    """Customers are told in their own language; 503 tells a mailbox provider to try again."""
    try:
        return await answer
    except Unavailable:
        return _away(_language(request))


def _away(language: Language) -> HTMLResponse:
    words = WORDS[language]
    answer = _html(notice_page(language, words.away_title, words.away), 503)
    answer.headers["Retry-After"] = "5"
    return answer


async def _stated(reception: Reception, token: str, request: Request) -> Response:
    language = _language(request)
    leave = (await reception.links()).read(token)
    if not isinstance(leave, Leave):
        return _not_ours(language)
    form = await _form(request)
    words, channels = WORDS[language], await reception.channels()
    match form.get("action", ["one-click"])[0]:
        case "save":
            wanted = frozenset(form.get("channel", ()))
            known = await reception.doors.consents(leave.customer)
            statements = [
                Statement(name, name in wanted, f"{words.channel(name)}: {words.agree}")
                for name in channels
                if (name in wanted) != known.get(name, False)
            ]
            source, done = "preferences", words.saved
        case "none":
            statements = [Statement(name, False, words.all_off) for name in channels]
            source, done = "preferences", words.saved
        case _:
            statements = [Statement(leave.channel, False, "List-Unsubscribe=One-Click")]
            source, done = "unsubscribe", words.left
    if statements:
        await reception.doors.state(leave, statements, source, reception.clock.now())
    metrics.DOORS.labels(source).inc()
    return await _shown(reception, token, language, done)


async def _form(request: Request) -> dict[str, list[str]]:
    body = await bounded(request.stream(), _LONGEST_FORM)
    return parse_qs((body or b"").decode("utf-8", "replace"), max_num_fields=100)


async def _clicked(reception: Reception, token: str, request: Request) -> Response:
    content = (await reception.links()).read(token)
    if not isinstance(content, Click):
        return _not_ours(_language(request))
    await _receipt(reception, content, request, "clicked")
    return RedirectResponse(content.url, 302, headers={"Cache-Control": "no-store"})


async def _opened(reception: Reception, token: str, request: Request) -> Response:
    with contextlib.suppress(Unavailable):
        content = (await reception.links()).read(token)
        if isinstance(content, Opening):
            await _receipt(reception, content, request, "opened")
    return Response(_DOT, media_type="image/gif", headers={"Cache-Control": "no-store"})


async def _receipt(
    reception: Reception, content: Click | Opening, request: Request, outcome: str
) -> None:
    """Nobody waits for our bookkeeping: if the database is away, the link leads on uncounted."""
    now = reception.clock.now()
    try:
        message = await reception.doors.sent(content.customer, content.message_id)
        if message is None:
            return
        who = who_asks(request.method, request.headers, message.sent_at, now)
        metrics.RECEIPTS.labels(message.channel, outcome, who).inc()
        if who != "person":
            return
        details = {"url": content.url} if isinstance(content, Click) else None
        await reception.doors.receipt(message, outcome, now, details)
    except Unavailable:
        logger.warning("a receipt could not be kept", action="receipt_unavailable", outcome=outcome)
