"""`POST /api/messages`: one transactional message, now, outside of any journey.

For what a shop's own server decides: a password reset, a receipt. It goes through dispatch like any
other (suppression, address, rendering, attempts, alternatives), and is no advertising: there is no
category to choose. `Idempotency-Key` names the message, so that a repetition finds it; `receipts`
names who is told what becomes of it.
"""

from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict, Field

from services.console.auth import Operator
from services.console.context import Console, Here
from services.console.models import Answer, Failure
from services.journey.language.problems import nearest
from shared import message
from shared.channels import CHANNELS
from shared.db.connect import Connection, unavailable_when_lost
from shared.db.installation import installation_key, partition_count
from shared.errors import BadInput, Conflict
from shared.event import partition_of
from shared.ids import derived_id
from shared.message import MessageContext
from shared.templates import template_name
from shared.workspace_store import newest

router = APIRouter(prefix="/api/messages", tags=["messages"])

JOURNEY = "$api"
"""What stands for a journey in lists and metrics; no journey can be called so."""
KEPT = timedelta(days=7)
"""How long an `Idempotency-Key` names its message; behind it, it is a new key."""
_MOST_CHANNELS = len(CHANNELS)
_PUT = """
INSERT INTO messages (partition, id, customer, run_id, journey, version, step, category, priority,
  channels, template, context, created_at, decidable_at, not_before, status, receipts_to)
VALUES ($1, $2, $3, $4, $5, 0, $6, 'transactional', 100, $7, $6, $8, $9, $9, $9, 'queued', $10)
"""
_REMEMBER = """
INSERT INTO idempotency_keys (key, message_id, digest, made_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (key) DO UPDATE SET message_id = excluded.message_id, digest = excluded.digest,
  made_at = excluded.made_at
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
    receipts: Annotated[str, Field(max_length=40)] | None = None
    """Whom to tell what becomes of it: a name under `receipts` in dangol.yaml."""


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
        409: {
            "model": Failure,
            "description": "The key has been used for another message in the last seven days",
        },
    },
)
async def send(wish: Wish, here: Here, _caller: Operator, key: Key) -> Queued:
    """Queue one message; it is rendered and sent at once, and whatever becomes of it is kept.

    A key names its message for seven days: repeated with the same content it is answered with the
    same id and queues nothing, with other content it is refused (409).
    """
    receipts_to = await _check(here, wish)
    now = here.clock.now()
    async with (
        unavailable_when_lost(),
        here.pool.acquire() as connection,
        connection.transaction(),
    ):
        name = derived_id("api-message", key)
        # Two calls with one key take turns.
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", name)
        digest = _digest(wish, await installation_key(connection))
        made = await _made(connection, name, digest, now)
        if made is not None:
            return Queued(id=made, created=False)
        message_id = derived_id("api-message", key, now.isoformat())
        await connection.execute(_REMEMBER, name, message_id, digest, now)
        await connection.execute(
            _PUT,
            partition_of(wish.customer, await partition_count(connection)),
            message_id,
            wish.customer,
            f"api:{message_id}",
            JOURNEY,
            wish.template,
            wish.channels,
            message.pack(MessageContext(trigger=wish.data)),
            now,
            receipts_to,
        )
        await connection.execute("SELECT pg_notify($1, '')", message.CHANNEL)
    return Queued(id=message_id, created=True)


async def _check(here: Console, wish: Wish) -> str | None:
    """Where its receipts go. Raises BadInput for what can never be sent."""
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
    if wish.receipts is None:
        return None
    receivers = published.settings.receipts
    if wish.receipts not in receivers:
        raise BadInput(
            f"the workspace has no receiver of receipts called `{wish.receipts}`",
            hint=nearest(wish.receipts, receivers)
            or "add it under `receipts:` in dangol.yaml, with its `url`",
        )
    return receivers[wish.receipts].url


def _digest(wish: Wish, key: bytes) -> str:
    """Of the content, without which a guess cannot be compared: it outlives an erasure."""
    content = msgspec.json.encode(wish.model_dump(), order="sorted")
    return blake2b(content, digest_size=16, key=key[:64]).hexdigest()


async def _made(connection: Connection, name: str, digest: str, now: datetime) -> str | None:
    """The message that the key has made; None for a new key. Raises Conflict for another one."""
    row = await connection.fetchrow(
        "SELECT message_id, digest FROM idempotency_keys WHERE key = $1 AND made_at > $2",
        name,
        now - KEPT,
    )
    if row is None:
        return None
    if row["digest"] not in (None, digest):
        raise Conflict(
            "this `Idempotency-Key` has been used for another message",
            hint="use one key for one message; repeat it only with the very same content",
        )
    made: str = row["message_id"]
    return made
