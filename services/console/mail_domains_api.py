"""Sending domains over HTTP: how many complain about their mail, and letting it go on."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field

from services.console.auth import Operator, Viewer
from services.console.context import Here
from services.console.models import Answer, Failure
from shared import mail_complaints
from shared.db.connect import unavailable_when_lost
from shared.mail_complaints import Standing

router = APIRouter(prefix="/api/mail-domains", tags=["mail domains"])

_REFUSED: dict[int | str, dict[str, Any]] = {404: {"model": Failure, "description": "Not paused"}}


class MailDomainRow(Answer):
    domain: str = Field(examples=["shop.example"])
    mails: int = Field(examples=[12000])
    """Advertising mails of a day: of the last 24 hours or the 24 before, whichever was worse."""
    complaints: int = Field(examples=[31])
    """About these mails."""
    share: float = Field(examples=[0.0026])
    paused_since: datetime | None
    """Its advertising mail waits; null while it goes."""
    paused_until: datetime | None
    why: str | None = Field(examples=["advertising mail from shop.example waits: …"])


class ResumedAnswer(Answer):
    domain: str = Field(examples=["shop.example"])
    resumed_at: datetime


@router.get("")
async def mail_domains(here: Here, _caller: Viewer) -> list[MailDomainRow]:
    """The senders' domains with the share of their advertising mail that people complained about.

    From 0.2 % on such mail waits for a day; what customers must be told goes on.
    """
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        found = await mail_complaints.standings(connection, here.clock.now())
    return [row_of(each) for each in found]


@router.post("/{domain}/resume", responses=_REFUSED)
async def resume_mail(
    domain: Annotated[str, Path(examples=["shop.example"], max_length=253, pattern=r"^[^\x00]*$")],
    here: Here,
    caller: Operator,
) -> ResumedAnswer:
    """Let a domain's advertising mail go on before its day is over.

    Only what is sent from then on is judged.
    """
    now = here.clock.now()
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        await mail_complaints.resume(connection, domain, caller.name, now)
    return ResumedAnswer(domain=domain, resumed_at=now)


def row_of(each: Standing) -> MailDomainRow:
    pause = each.pause
    return MailDomainRow(
        domain=each.domain,
        mails=each.rate.mails,
        complaints=each.rate.complaints,
        share=each.rate.share,
        paused_since=pause.since if pause else None,
        paused_until=pause.until if pause else None,
        why=pause.why if pause else None,
    )
