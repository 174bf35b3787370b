"""Where plan, apply, pause and the like are carried out: a running Dangol, else its database.

A server that was named is the only place. Otherwise the usual address is tried, and if nobody
answers there, the database of DANGOL_DATABASE_URL or of the data folder is worked on directly.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.cli.database import database, has_data
from services.cli.environment import read_settings
from services.cli.local import DEFAULT_SERVER, local_token
from services.cli.remote import NoAnswer, Remote
from services.cli.terminal import working
from services.console.explaining.answer import ExplainAnswer
from services.console.models import AppliedAnswer, PlanAnswer, ScoredAnswer, StatusAnswer
from services.console.retention_api import RetentionAnswer
from services.console.words import Language
from shared.errors import ConfigurationError


class Backend(Protocol):
    """Raises DangolError: what the server or the database says, or that nobody answers."""

    def plan(self, files: Mapping[str, bytes]) -> PlanAnswer: ...

    def apply(
        self, files: Mapping[str, bytes], base_revision: int | None, in_flight: str
    ) -> AppliedAnswer: ...

    def set_status(self, journey: str, verb: str) -> StatusAnswer: ...

    def score_rfm(self) -> ScoredAnswer: ...

    def retention(
        self, event: str | None, start: str | None, period: str, periods: int
    ) -> RetentionAnswer: ...

    def explain(self, customer: str, journey: str, language: Language) -> ExplainAnswer: ...


@dataclass(frozen=True, slots=True)
class Target:
    """What the options say."""

    server: str | None
    token: str | None
    data: Path


@contextmanager
def backend(target: Target) -> Iterator[Backend]:
    """Raises ConfigurationError if there is neither a server nor a database."""
    remote = Remote(target.server or DEFAULT_SERVER, target.token or local_token(target.data))
    try:
        remote.find()
    except NoAnswer as error:
        if target.server:
            raise
        if read_settings().database_url is None and not has_data(target.data):
            raise ConfigurationError(
                f"{error}, and there is no database in {target.data}",
                hint="start `dangol up`, name a running one with --server, or set"
                " DANGOL_DATABASE_URL",
            ) from error
    else:
        with working(f"waiting for {target.server or DEFAULT_SERVER}"):
            yield remote
        return
    from services.cli.direct import Direct  # slow to load, and not needed for a server

    with working("working on the database"), database(target.data) as found:
        yield Direct(found)
