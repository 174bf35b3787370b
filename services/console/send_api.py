"""`POST /api/messages`: one transactional message, now, outside of any journey.

For what a shop's own server decides: a password reset, a receipt. It goes through dispatch like any
other (suppression, address, rendering, attempts, alternatives), and is no advertising: there is no
category to choose. `Idempotency-Key` names the message, so that a repetition finds it.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict, Field

from services.console.auth import Operator
from services.console.context import Console, Here
from services.console.models import Answer, Failure
from services.journey.language.problems import nearest
from shared import message
from shared.channels import CHANNELS
from shared.db.connect import Connection, unavailable_when_lost
from shared.db.installation import partition_count
from shared.errors import BadInput, Conflict
from shared.event import partition_of
from shared.ids import derived_id
from shared.message import MessageContext
from shared.templates import template_name
from shared.workspace_store import newest

router = APIRouter(prefix="/api/messages", tags=["messages"])

JOURNEY = "$api"
"""What stands for a journey in lists and metrics; no journey can be called so."""
_MOST_CHANNELS = len(CHANNELS)
_TURN = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
"""Two calls with one key take turns."""
_PUT = """
INSERT INTO messages (partition, id, customer, run_id, journey, version, step, category, priority,
  channels, template, context, created_at, decidable_at, not_before, status)
VALUES ($1, $2, $3, $4, $5, 0, $6, 'transactional', 100, $7, $6, $8, $9, $9, $9, 'queued')
"""


class Wish(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "customer": "u1",
                    "channels": ["email", "sms"],
                    "template": "password-reset",
                    "data": {"link": "https://shop.example/reset/1"},
                }
            ]
        },
    )

    customer: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]*$")]
    channels: Annotated[list[str], Field(min_length=1, max_length=_MOST_CHANNELS)]
    """The first is tried first; the others where it cannot be used."""
    template: Annotated[str, Field(min_length=1, max_length=200)]
    data: dict[str, Any] = {}
    """What the template reads as `trigger.…`."""


class Queued(Answer):
    id: str
    """Look it up at `GET /api/messages?customer=`."""
    created: bool
    """False where this `Idempotency-Key` has made it before."""


Key = Annotated[str, Header(alias="Idempotency-Key", min_length=1, max_length=200)]


@router.post(
    "",
    status_code=202,
    responses={
        400: {"model": Failure, "description": "No such template, channel or file for it"},
        409: {"model": Failure, "description": "The key has been used for another message"},
    },
)
async def send(wish: Wish, here: Here, _caller: Operator, key: Key) -> Queued:
    """Queue one message; it is rendered and sent at once, and whatever becomes of it is kept."""
    await _check(here, wish)
    context = message.pack(MessageContext(trigger=wish.data))
    message_id = derived_id("api-message", key)
    async with (
        unavailable_when_lost(),
        here.pool.acquire() as connection,
        connection.transaction(),
    ):
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", message_id
        )
        if await _is_made(connection, message_id, wish, context):
            return Queued(id=message_id, created=False)
        partitions = await partition_count(connection)
        partition = partition_of(wish.customer, partitions)
        await connection.execute(
            _PUT,
            partition,
            message_id,
            wish.customer,
            f"api:{message_id}",
            JOURNEY,
            wish.template,
            wish.channels,
            context,
            here.clock.now(),
        )
        await connection.execute("SELECT pg_notify($1, '')", message.CHANNEL)
    return Queued(id=message_id, created=True)


async def _check(here: Console, wish: Wish) -> None:
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        published = await newest(connection)
    if published is None:
        raise BadInput("nothing has been published yet", hint="`dangol apply DIR` publishes")
    names = [name for path in published.files if (name := template_name(path)) is not None]
    templates = {name.name for name in names}
    if wish.template not in templates:
        raise BadInput(
            f"there is no template `{wish.template}`", hint=nearest(wish.template, templates)
        )
    for at, channel in enumerate(wish.channels):
        if channel not in published.settings.channels:
            known = published.settings.channels
            raise BadInput(
                f"the workspace sets up no channel `{channel}`", hint=nearest(channel, known)
            )
        if channel in wish.channels[:at]:
            raise BadInput(f"the channel `{channel}` is named twice", hint="leave one out")
        plain = (wish.template, channel, None)
        if plain not in {(name.name, name.channel, name.locale) for name in names}:
            raise BadInput(
                f"templates/{wish.template} has no file for {channel}",
                hint=f"write {channel}.liquid there, or leave the channel out",
            )


async def _is_made(connection: Connection, message_id: str, wish: Wish, context: bytes) -> bool:
    """Whether this very message is there; raises Conflict if another one is.

    All partitions are looked at, since the other one may be another customer's.
    """
    row = await connection.fetchrow(
        "SELECT customer, channels, template, context FROM messages"
        " WHERE id = $1 AND partition = ANY (SELECT id FROM partitions)",
        message_id,
    )
    if row is None:
        return False
    there = (row["customer"], row["channels"], row["template"], row["context"])
    if there != (wish.customer, wish.channels, wish.template, context):
        raise Conflict(
            "this `Idempotency-Key` has been used for another message",
            hint="use one key for one message; repeat it only with the very same content",
        )
    return True
