"""Why a customer did, or did not, get a journey's messages, over HTTP."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query

from services.console.auth import Viewer
from services.console.context import Here
from services.console.explaining.answer import ExplainAnswer, answer_of
from services.console.explaining.replay import explain
from services.console.explaining.stored import read
from services.console.models import Failure
from services.console.words import language_of

router = APIRouter(prefix="/api", tags=["messages and customers"])

_NO_NUL = r"^[^\x00]*$"
_UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": Failure, "description": "No such customer, or no such journey"}
}
_ONE_AT_A_TIME = asyncio.Semaphore(2)
"""A replay takes a core for up to seconds."""


@router.get("/customers/{customer:path}/explain", responses=_UNKNOWN)
async def explain_customer(
    customer: Annotated[str, Path(examples=["u1"], min_length=1, max_length=512, pattern=_NO_NUL)],
    here: Here,
    _caller: Viewer,
    journey: Annotated[str, Query(examples=["cart-abandonment"], max_length=1000, pattern=_NO_NUL)],
    lang: Annotated[str | None, Query(description="`en` or `ko`")] = None,
    accept_language: Annotated[str | None, Header()] = None,
) -> ExplainAnswer:
    """Replay the customer's stored events through the core, and tell what it decided and why.

    Each event meets the versions and pauses of its receipt; messages are shown as they were really
    decided. Also for who never entered, and for an id that belongs to another customer.
    """
    language = language_of(lang, accept_language)
    async with _ONE_AT_A_TIME:
        stored = await read(here.pool, customer, journey)
        now = here.clock.now()
        found = await asyncio.to_thread(explain, stored, customer, journey, now)
        return await asyncio.to_thread(answer_of, found, language)
