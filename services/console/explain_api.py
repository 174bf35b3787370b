"""Why a customer did, or did not, get a journey's messages, over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query

from services.console.auth import Viewer
from services.console.context import Here
from services.console.explaining.answer import ExplainAnswer, answer_of
from services.console.explaining.aside import aside
from services.console.explaining.replay import explain
from services.console.explaining.stored import read
from services.console.models import Failure
from services.console.words import language_of

router = APIRouter(prefix="/api", tags=["messages and customers"])

_NO_NUL = r"^[^\x00]*$"
_UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": Failure, "description": "No such customer, or no such journey"}
}


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
    stored, now = await read(here.pool, customer, journey), here.clock.now()
    return await aside(lambda: answer_of(explain(stored, customer, journey, now), language))
