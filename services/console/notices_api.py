"""Notices that a law asks for, over HTTP."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import Field

from services.console import notices
from services.console.auth import Viewer
from services.console.context import Here
from services.console.models import Answer, Failure
from services.console.reading import Before
from services.console.words import Language, language_of
from shared.db.connect import Connection, unavailable_when_lost
from shared.notices import Owed
from shared.packs import PACKS

router = APIRouter(prefix="/api", tags=["notices"])

_NO_NUL = r"^[^\x00]*$"
_LANG = Annotated[str | None, Query(description="`en` or `ko`")]
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Failure, "description": "Not found"}}


class OwedRow(Answer):
    customer: str = Field(examples=["u1"])
    notice: str = Field(examples=["kr-marketing/consent-result"])
    title: str = Field(examples=["수신동의 처리결과 통지"])
    journey: str = Field(examples=["consent-result"])
    """The one that gives it: `/explain?journey=` tells more."""
    channels: list[str] = Field(examples=[["email", "sms"]])
    """Whose consent it is about."""
    since: datetime
    """The first statement that it has to tell of, or the oldest consent that stands."""
    told_at: datetime | None
    """When the customer was last told, before that."""
    due_at: datetime
    overdue: bool
    why: str = Field(examples=["no_address"])
    """Why it has not been sent: the reason of its newest message, or `no_journey`,
    `journey_paused`, `not_made`, `waiting`, `unknown`."""
    why_text: str
    message: str | None
    """Its newest message."""


class NoticeRow(Answer):
    notice: str = Field(examples=["kr-marketing/consent-result"])
    title: str = Field(examples=["수신동의 처리결과 통지"])
    journey: str = Field(examples=["consent-result"])
    source: str
    """The law that asks for it."""
    customers: int = Field(examples=[3])
    """To so many it is due."""
    first_due_at: datetime | None


class NoticesAnswer(Answer):
    until: datetime
    """What was due then is told."""
    notices: list[NoticeRow]
    """Those that packs in force ask for, `met_elsewhere` left out."""
    customers: list[OwedRow]
    """Longest due first."""


class GivenRow(Answer):
    notice: str = Field(examples=["kr-marketing/consent-result"])
    title: str = Field(examples=["수신동의 처리결과 통지"])
    message: str
    channel: str = Field(examples=["email"])
    sent_at: datetime
    adapter: str | None = Field(examples=["smtp"])
    provider_id: str | None
    revision: int | None = Field(examples=[8])
    """The workspace's that was in force: its words went out."""
    file: str | None = Field(examples=["templates/consent-result/email.liquid"])
    wording: str | None
    """The template's source in that revision, in the language that the customer reads now."""
    wording_hash: str | None
    """Its SHA-256."""


class CustomerNoticesAnswer(Answer):
    customer: str = Field(examples=["u1"])
    owed: list[OwedRow]
    """What is overdue or due within 30 days, longest due first."""
    given: list[GivenRow]
    """The newest 50 that were sent, and in which words: what proves them."""


@router.get("/notices", responses=_UNKNOWN)
async def overdue_notices(
    request: Request,
    response: Response,
    here: Here,
    _caller: Viewer,
    notice: Annotated[str | None, Query(max_length=200, pattern=_NO_NUL)] = None,
    within: Annotated[
        int, Query(ge=0, le=60, description="Also what falls due within so many days")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    after: Annotated[
        str | None, Query(description="From the `Link` header of the page before")
    ] = None,
    lang: _LANG = None,
    accept_language: Annotated[str | None, Header()] = None,
) -> NoticesAnswer:
    """To whom a notice that a law asks for is overdue, since when, and why it was not sent.

    `Link: <…>; rel="next"` leads to those that fell due later.
    """
    language = language_of(lang, accept_language)
    now = here.clock.now()
    place = Before.of(after) if after is not None else None
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        answer = await answer_of(
            connection, now, within, language=language, only=notice, after=place, limit=limit
        )
    if len(answer.customers) == limit:
        last = Before(answer.customers[-1].due_at, answer.customers[-1].customer)
        query = {**request.query_params, "after": str(last)}
        response.headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
    return answer


async def answer_of(
    connection: Connection,
    now: datetime,
    within: int,
    *,
    language: Language,
    only: str | None = None,
    after: Before | None = None,
    limit: int,
) -> NoticesAnswer:
    """`within`: days ahead. Raises NotFound for a notice that nobody asks for."""
    until = now + timedelta(days=within)
    totals, found = await notices.overdue(connection, until, only=only, after=after, limit=limit)
    return NoticesAnswer(
        until=until,
        notices=[
            NoticeRow(
                notice=each.name,
                title=_titles(language)[each.name],
                journey=each.duty.id,
                source=each.duty.source,
                customers=customers,
                first_due_at=first,
            )
            for each, customers, first in totals
        ],
        customers=[owed_row(owed, now, language) for owed in found],
    )


@router.get("/customers/{customer:path}/notices", responses=_UNKNOWN)
async def customer_notices(
    customer: Annotated[str, Path(examples=["u1"], min_length=1, max_length=512, pattern=_NO_NUL)],
    here: Here,
    _caller: Viewer,
    lang: _LANG = None,
    accept_language: Annotated[str | None, Header()] = None,
) -> CustomerNoticesAnswer:
    """The notices that a law asks for, of one customer: what is owed, what proves the others."""
    language = language_of(lang, accept_language)
    now = here.clock.now()
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        shown = await notices.of_customer(connection, customer, now)
    return CustomerNoticesAnswer(
        customer=shown.customer,
        owed=[owed_row(owed, now, language) for owed in shown.owed],
        given=[
            GivenRow(title=_titles(language)[given.notice], **asdict(given))
            for given in shown.given
        ],
    )


def owed_row(owed: Owed, now: datetime, language: Language) -> OwedRow:
    return OwedRow(
        customer=owed.customer,
        notice=owed.notice,
        title=_titles(language)[owed.notice],
        journey=owed.journey,
        channels=list(owed.channels),
        since=owed.since,
        told_at=owed.told_at,
        due_at=owed.due_at,
        overdue=owed.due_at <= now,
        why=owed.why,
        why_text=notices.why(owed, language),
        message=owed.message,
    )


def _titles(language: Language) -> dict[str, str]:
    return {
        f"{pack.name}/{duty.id}": duty.title_ko if language == "ko" else duty.title
        for pack in PACKS.values()
        for duty in pack.duties
    }
