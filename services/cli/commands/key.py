"""`dangol key create | list | revoke`."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from services.cli.on_database import on_database
from services.cli.options import AS_JSON, DATA
from services.cli.terminal import note, say, say_json, table

if TYPE_CHECKING:
    from services.console.keys import Key
    from shared.db.connect import Connection, Pool

T = TypeVar("T")


def register(app: typer.Typer) -> None:
    keys = typer.Typer(
        name="key", help="Keys for SDKs and tokens for people.", no_args_is_help=True
    )
    keys.command("create", epilog="Example: dangol key create web")(create)
    keys.command("list", epilog="Example: dangol key list")(list_)
    keys.command("revoke", epilog="Example: dangol key revoke key_0123456789ab")(revoke)
    app.add_typer(keys)


def create(
    name: str = typer.Argument(..., metavar="NAME", help="What uses it, such as web."),
    role: str = typer.Option(
        "write",
        metavar="ROLE",
        help="write (SDKs), viewer, marketer, operator or admin (API and page).",
    ),
    browser: bool = typer.Option(
        False, "--browser", help="For web pages, where anybody can read it: posts events only."
    ),
    rate: str = typer.Option(
        None, metavar="RATE", help="The most events it may send, as in 100/s.", show_default=False
    ),
    daily: int = typer.Option(
        None, metavar="N", help="The most events in a day (UTC).", show_default=False
    ),
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Make a key and print it, this once.

    A write key goes into SDKs, `viewer` and above are bearer tokens for the API and the page.
    """
    from services.console.keys import Bounds, create_key
    from shared.clock import wall_clock

    bounds = Bounds("browser" if browser else "secret", rate, daily)
    key, secret = _with(data, lambda found: create_key(found, name, role, wall_clock(), bounds))
    if as_json:
        say_json({**_row(key), "key": secret})
        return
    what = f"{key.kind} {key.role}" if key.role == "write" else key.role
    note(f"{key.id}: {what} key `{key.name}`. It is shown this once; keep it safe.")
    say(secret)


def list_(data: Path = DATA, as_json: bool = AS_JSON) -> None:
    """Show the keys there are, but never the keys themselves."""
    from services.console.keys import list_keys

    keys = _with(data, list_keys)
    if as_json:
        for key in keys:
            say_json(_row(key))
        return
    rows = [
        (
            key.id,
            key.name,
            f"{key.role} ({key.kind})" if key.role == "write" else key.role,
            _bounds(key),
            f"{key.created_at:%Y-%m-%d %H:%M}",
            f"revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "",
        )
        for key in keys
    ]
    if rows:
        table(("id", "name", "role", "at most", "created (UTC)", ""), rows)
    else:
        note("no keys yet: `dangol key create NAME` makes one")


def revoke(
    key_id: str = typer.Argument(..., metavar="ID", help="As `dangol key list` shows it."),
    data: Path = DATA,
    as_json: bool = AS_JSON,
) -> None:
    """Close a key for good; at once it opens nothing any more."""
    from services.console.keys import revoke_key
    from shared.clock import wall_clock

    key = _with(data, lambda found: revoke_key(found, key_id, wall_clock()))
    if as_json:
        say_json(_row(key))
    else:
        say(f"{key.id} ({key.role} key `{key.name}`) is revoked.")


def _row(key: "Key") -> dict[str, Any]:
    return {name: _text(getattr(key, name)) for name in key.__slots__}


def _bounds(key: "Key") -> str:
    parts = [f"{key.rate:g}/s"] if key.rate else []
    return ", ".join([*parts, f"{key.daily:,} a day"] if key.daily else parts)


def _text(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else value


def _with(data: Path, work: "Callable[[Connection], Awaitable[T]]") -> T:
    async def whole(pool: "Pool") -> T:
        async with pool.acquire() as connection:
            return await work(connection)

    return on_database(data, whole)
