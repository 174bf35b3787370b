"""The whole app against its own OpenAPI: schemathesis makes requests, good and bad, by the schema.

Bounded: some requests for each operation, with a fixed seed. What it holds answers to: never a 5xx
but a told 503, no status and no content type that the schema does not name, bodies as described.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import CHECKS, load_all_checks

from tests.processes import ADMIN_TOKEN, WRITE_KEY, Dangol

EXAMPLES = 12
_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


@schemathesis.serializer("application/zip")
def zipped(_context: Any, value: Any) -> bytes:
    """Mostly no zip at all, which is to be told so."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.fixture
async def dangol(tmp_path: Path) -> AsyncIterator[Dangol]:
    made = Dangol(tmp_path / "data", Path(__file__).parents[2] / "examples" / "shop")
    await made.start()
    yield made
    await made.stop()


def hold_to_its_schema(url: str) -> int:
    """Returns how many operations there are. Raises for the first answer that does not fit."""
    load_all_checks()
    checks = [CHECKS.get_one(name) for name in _CHECKS]
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = 0
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]  # an error in the schema raises
        of_ingest = not operation.path.startswith("/api/") or operation.path.startswith(
            ("/api/s/", "/api/public/")
        )
        headers = {} if of_ingest else {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        auth = (WRITE_KEY, "") if of_ingest else None

        @seed(7)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def try_it(case: Any) -> None:
            answer = case.call(headers=headers, auth=auth)  # noqa: B023 - called at once
            case.validate_response(answer, checks=checks)

        try_it()
        operations += 1
    return operations


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the libraries beneath schemathesis, not ours
async def test_every_operation_answers_as_its_schema_says(dangol: Dangol) -> None:
    assert await asyncio.to_thread(hold_to_its_schema, dangol.url) > 40
