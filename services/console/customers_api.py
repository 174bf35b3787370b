"""A customer's right to see what is kept about them, and to have it erased, over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from fastapi.responses import StreamingResponse
from pydantic import Field

from services.console import erasures
from services.console.auth import Operator
from services.console.context import Here
from services.console.export import export
from services.console.models import Answer, Failure

router = APIRouter(prefix="/api", tags=["messages and customers"])

_NO_NUL = r"^[^\x00]*$"
CustomerId = Annotated[str, Path(examples=["u1"], min_length=1, max_length=512, pattern=_NO_NUL)]
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Failure, "description": "Not found"}}


class ReachedRow(Answer):
    table: str = Field(examples=["history"])
    rows: int = Field(examples=[214])
    how: erasures.How
    """`emptied`: the row stays for the counts, with nothing in it; `renamed`: it stands under the
    hash."""


class ErasureAnswer(Answer):
    id: str = Field(examples=["erasure-2f0c…"])
    """Ask `GET /api/erasures/{id}` by it."""
    state: Literal["asked", "erased", "complete"]
    customer_hash: str
    """What stays in place of the id: a keyed hash."""
    requested_at: datetime
    requested_by: str = Field(examples=["kim"])
    erased_at: datetime | None
    """When it was carried out; null: not yet."""
    complete_at: datetime
    """When the log's retention has passed, and nothing received before can come any more."""
    ids: int = Field(examples=[2])
    """The customer's own id and linked ones, as far as they are erased."""
    erased: list[ReachedRow]
    """What was erased where, as far as it is."""
    ledger: erasures.Kept
    """Whether it also stands in the ledger outside the database, by which a backup that is restored
    is erased again. `none`: there is no ledger."""
    erases: list[str]
    keeps: list[str]


@router.get("/customers/{customer:path}/export", responses=_UNKNOWN)
async def export_customer(customer: CustomerId, here: Here, _caller: Operator) -> StreamingResponse:
    """Everything that is kept about a customer, linked ids included, as one JSON document."""
    pieces = export(here.pool, customer)
    first = await anext(pieces)

    async def all_pieces() -> Any:
        yield first
        async for piece in pieces:
            yield piece

    return StreamingResponse(all_pieces(), media_type="application/json")


@router.delete("/customers/{customer:path}", status_code=202)
async def erase_customer(customer: CustomerId, here: Here, caller: Operator) -> ErasureAnswer:
    """Erase a customer: everything received until now, whatever way it still comes.

    An id that belongs to a customer erases that customer. Later events begin a new one, without
    consent. Also for an id that is not known: the log may still hold something of it.
    """
    asked = await erasures.ask(here.pool, customer, caller.name, here.clock, here.ledger)
    return ErasureAnswer.model_validate(asked)


@router.get("/erasures/{request}", responses=_UNKNOWN)
async def erasure(
    request: Annotated[str, Path(max_length=100, pattern=_NO_NUL)], here: Here, _caller: Operator
) -> ErasureAnswer:
    """What has become of an erasure."""
    found = await erasures.find(here.pool, request, here.clock, here.ledger)
    return ErasureAnswer.model_validate(found)
