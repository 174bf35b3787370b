"""The tracking plan over HTTP: how it is held, and what breaks it."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from services.console.auth import Viewer
from services.console.context import Here
from services.console.models import Answer
from shared.db.connect import unavailable_when_lost
from shared.tracking import Breach, TrackingPlan

router = APIRouter(prefix="/api/tracking", tags=["tracking"])

_PLAN = "SELECT tracking FROM workspaces ORDER BY revision DESC LIMIT 1"
_VIOLATIONS = """
SELECT source, event, property, violation, n AS count, first_at, last_at FROM plan_violations
WHERE ($1::text IS NULL OR source = $1) AND ($2::text IS NULL OR event = $2)
ORDER BY last_at DESC, n DESC, source, event, property, violation LIMIT $3
"""
_Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


class ViolationRow(Answer):
    source: str = Field(examples=["web"])
    """The write key's name, or the webhook source's."""
    event: str = Field(examples=["Order Completed"])
    """Empty: names for which there was no room."""
    property: str = Field(examples=["total"])
    """Empty: it is the event as a whole."""
    violation: Breach = Field(examples=["missing_property"])
    count: int = Field(examples=[12])
    first_at: datetime
    last_at: datetime


class TrackingAnswer(Answer):
    mode: Literal["warn", "enforce"] | None
    """Null: the published workspace has no events.yaml."""
    events: int = Field(examples=[14])
    """How many the plan lists."""
    violations: list[ViolationRow]
    """The latest first. Of the last 30 days; counts begin anew where one has not come since."""


@router.get("")
async def tracking(
    here: Here,
    _caller: Viewer,
    source: _Text = None,
    event: _Text = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> TrackingAnswer:
    """The plan's mode, and what has broken it, by source, event and property."""
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        stored = await connection.fetchval(_PLAN)
        rows = await connection.fetch(_VIOLATIONS, source, event, limit)
    plan = None if stored is None else TrackingPlan.model_validate(stored)
    return TrackingAnswer(
        mode=None if plan is None else plan.mode,
        events=0 if plan is None else len(plan.events),
        violations=[ViolationRow.model_validate(dict(row)) for row in rows],
    )
