"""Keys over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from services.console.auth import Admin
from services.console.context import Here
from services.console.keys import Bounds, create_key, list_keys, revoke_key
from services.console.models import Failure, KeyRow, KeyWish, NewKey
from shared.db.connect import unavailable_when_lost

router = APIRouter(prefix="/api/keys", tags=["keys"])

_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Failure, "description": "No such key"}}


@router.get("")
async def keys(here: Here, _caller: Admin) -> list[KeyRow]:
    """All keys, oldest first, revoked ones included; never the keys themselves."""
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        return [KeyRow.model_validate(key) for key in await list_keys(connection)]


@router.post("", status_code=201)
async def create(wish: KeyWish, here: Here, _caller: Admin) -> NewKey:
    """A new key; this answer is the only time that it is shown."""
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        bounds = Bounds(wish.kind, wish.rate, wish.daily)
        key, secret = await create_key(connection, wish.name, wish.role, here.clock.now(), bounds)
    return NewKey(**KeyRow.model_validate(key).model_dump(), key=secret)


@router.delete("/{key_id}", responses=_UNKNOWN)
async def revoke(
    key_id: Annotated[str, Path(examples=["key_0123456789ab"], pattern=r"^[^\x00]*$")],
    here: Here,
    _caller: Admin,
) -> KeyRow:
    """At once, in every process, the key opens nothing any more."""
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        return KeyRow.model_validate(await revoke_key(connection, key_id, here.clock.now()))
