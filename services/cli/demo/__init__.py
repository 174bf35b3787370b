"""`dangol demo`: a day of the example shop in a minute.

A real PostgreSQL, real HTTP into `/v1`, all services, real SMTP into an inbox of our own. Nothing
that is printed is prepared: it is read from the database, the API and the inbox as it happens.
"""

from pathlib import Path

from services.cli.demo.words import Language

SPEED = 1800.0
"""One second is half an hour."""

__all__ = ["SPEED", "run"]


def run(
    *,
    speed: float | None = None,
    keep: Path | None = None,
    lang: Language | None = None,
    port: int | None = None,
) -> None:
    """Plays the day. Raises DangolError; SystemExit(1) if its end is not as it should be,
    SystemExit(130) if it was stopped.

    `keep` is a new or empty folder in which the data and the mails stay; without it only the mails
    do, in a temporary folder. `port` is where all of Dangol is served (default 8420, or a free one
    if that is taken).
    """
    from services.cli.demo.screen import Screen

    screen = Screen(lang or "en")
    screen.title()
    from services.cli.demo.showing import Wishes, show

    status = show(Wishes(speed or SPEED, keep, port), screen)
    if status:
        raise SystemExit(status)
