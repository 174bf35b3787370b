"""RFM over HTTP: how customers are spread over the named segments, and scoring on demand."""

from typing import Any

from fastapi import APIRouter

from services.console.auth import Marketer, Viewer
from services.console.context import Here
from services.console.models import Failure, RfmAnswer, RfmSegmentRow, ScoredAnswer
from shared.db.connect import unavailable_when_lost
from shared.rfm import SEGMENTS, SMALL
from shared.rfm_scoring import last_scored, score_now

router = APIRouter(prefix="/api/rfm", tags=["rfm"])

_REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"model": Failure, "description": "Nothing says what a purchase is, or it is under way"}
}
_SPREAD = """
SELECT rfm->>'segment' AS segment, count(*) AS customers FROM customers
WHERE rfm IS NOT NULL GROUP BY 1
"""


@router.get("")
async def spread(here: Here, _caller: Viewer) -> RfmAnswer:
    """How many customers each named segment has, and when they were scored."""
    async with unavailable_when_lost(), here.pool.acquire() as connection:
        rows = await connection.fetch(_SPREAD)
        scored_at = await last_scored(connection)
    found = {row["segment"]: row["customers"] for row in rows}
    customers = sum(found.values())
    return RfmAnswer(
        scored_at=scored_at,
        customers=customers,
        small_sample=customers < SMALL,
        segments=[
            RfmSegmentRow(
                id=name,
                title_en=title.en,
                title_ko=title.ko,
                customers=found.get(name, 0),
                share=found.get(name, 0) / customers if customers else 0.0,
            )
            for name, title in SEGMENTS.items()
        ],
    )


@router.post("/score", responses=_REFUSED)
async def score(here: Here, _caller: Marketer) -> ScoredAnswer:
    """Score all customers now. The answer comes when the log has been told who changed."""
    done = await score_now(here.pool, here.clock)
    return ScoredAnswer(at=done.at, changed=done.changed)
