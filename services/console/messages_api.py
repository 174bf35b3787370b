"""Messages and customers over HTTP, and the words for what became of a message."""

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Path, Query, Request, Response

from services.console import queries
from services.console.absent import absent_traits
from services.console.auth import Viewer
from services.console.context import Here
from services.console.held import held_because, waits_for_channel
from services.console.models import CustomerAnswer, Failure, MessageRow
from services.console.reading import Before, reading
from services.console.views import customer_answer, flows_of, messages_of, runs_of
from services.console.words import language_of, sentences
from shared.errors import NotFound

router = APIRouter(prefix="/api", tags=["messages and customers"])

_NO_NUL = r"^[^\x00]*$"
Text = Annotated[str | None, Query(max_length=1000, pattern=_NO_NUL)]


@router.get("/messages")
async def messages(
    request: Request,
    response: Response,
    here: Here,
    _caller: Viewer,
    customer: Text = None,
    journey: Text = None,
    decision: Literal["sent", "dropped", "failed", "unknown", "undecided"] | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Annotated[
        str | None, Query(description="From the `Link` header of the page before, or an instant")
    ] = None,
    lang: Annotated[str | None, Query(description="Of `held_because`: `en` or `ko`")] = None,
    accept_language: Annotated[str | None, Header()] = None,
) -> list[MessageRow]:
    """Messages, newest first; `Link: <…>; rel="next"` leads to older ones.

    Those of a customer are shown with those of the ids that belong to them.
    """
    place = Before.of(before) if before is not None else None
    async with reading(here.engine) as connection:
        rows = await queries.list_messages(
            connection,
            customer=customer,
            journey=journey,
            decision=decision,
            before=place,
            limit=limit,
        )
        waiting = any(waits_for_channel(row) for row in rows)
        pauses = await queries.pauses(connection) if waiting else ()
    language = language_of(lang, accept_language)
    if len(rows) == limit:
        last = Before(rows[-1]["created_at"], rows[-1]["id"])
        query = {**request.query_params, "before": str(last)}
        response.headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
    return [MessageRow(**row, held_because=held_because(row, pauses, language)) for row in rows]


_UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": Failure, "description": "No such customer"}
}


@router.get("/customers/{customer:path}", responses=_UNKNOWN)
async def customer(
    customer: Annotated[str, Path(examples=["u1"], pattern=_NO_NUL)], here: Here, _caller: Viewer
) -> CustomerAnswer:
    """Traits, live runs with their step, consents, and which traits count as absent and why.

    An id that belongs to a user, as an anonymous one does after a login, shows that user.
    """
    async with reading(here.engine) as connection:
        owner = await queries.owner_of(connection, customer)
        row = await queries.customer_row(connection, owner)
        if row is None:
            raise NotFound(f"there is no customer `{customer}`", hint="ids are case-sensitive")
        runs = runs_of(row)
        sources = await queries.sources(connection, {(r.journey, r.version) for r in runs})
        queued = await queries.message_times(connection, owner, messages_of(runs))
        consents = await queries.consents_of(connection, owner)
        linked = await queries.linked_to(connection, owner)
        settings = await queries.newest_settings(connection)
    flows = await flows_of(sources)
    times = {m["id"]: m["created_at"] for m in queued}
    answer = customer_answer(owner, row, runs, flows, times, consents)
    asked_for = customer if customer != owner else None
    absent = list(absent_traits(row["traits"], settings.country, settings.timezone))
    told = {"asked_for": asked_for, "linked": linked, "absent": absent}
    return answer.model_copy(update=told)


@router.get("/reasons")
async def reasons(
    _caller: Viewer,
    lang: Annotated[str | None, Query(description="`en` or `ko`")] = None,
    accept_language: Annotated[str | None, Header()] = None,
) -> dict[str, str]:
    """What each reason for not sending, and each reason for not entering, means."""
    return sentences(language_of(lang, accept_language))
