"""Retention over HTTP."""

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from services.console.auth import Viewer
from services.console.context import Here
from services.console.models import Answer, Failure
from services.console.retention import MOST_PERIODS, Period, Question, retention

router = APIRouter(prefix="/api/retention", tags=["results"])

_REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "Which event counts is not said"}
}
Name = Annotated[str | None, Query(min_length=1, max_length=512, pattern=r"^[^\x00]*$")]


class CellRow(Answer):
    period: int = Field(examples=[1])
    """How many periods behind the cohort's own, which is 0."""
    starts: date
    complete: bool
    """False: the period is not over, and its share would only look low."""
    customers: int | None = Field(examples=[42])
    """Of the cohort, who came; null while the period is not over."""
    share: float | None = Field(examples=[0.21])
    so_far: int | None = Field(examples=[None])
    """Who came until now, of a period that is not over."""


class CohortRow(Answer):
    starts: date
    size: int = Field(examples=[200])
    complete: bool
    """False: its own period is not over, so it may still grow."""
    cells: list[CellRow]


class RetentionAnswer(Answer):
    at: datetime
    event: str = Field(examples=["Order Completed"])
    start: str = Field(examples=["Signed Up"])
    period: Period
    timezone: str = Field(examples=["Asia/Seoul"])
    """In which periods begin: the workspace's."""
    known_since: date
    """History that is older is not kept: who began before it counts as new at the first `start`
    since."""
    cohorts: list[CohortRow]
    """Oldest first."""
    overall: list[float | None]
    """Share by period, over all cohorts whose cell is complete."""


@router.get("", responses=_REFUSED)
async def retention_of(
    here: Here,
    _caller: Viewer,
    event: Name = None,
    start: Name = None,
    by: Period = "month",
    periods: Annotated[int, Query(ge=1, le=MOST_PERIODS)] = 12,
) -> RetentionAnswer:
    """Of those whose first `start` fell into one period, how many did `event` in the next ones.

    `event` is the purchase that `rfm:` names, and `start` the same, unless they are given. A cell
    whose period is not over is marked, and has no share.
    """
    found = await retention(here.pool, Question(event, start, by, periods), here.clock.now())
    return RetentionAnswer.model_validate(found)
