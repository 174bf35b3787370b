"""An explanation as the API answers it and the command prints it."""

from datetime import datetime
from typing import Any

from pydantic import Field

from services.console.explaining.replay import Explanation, Note
from services.console.explaining.wording import Teller
from services.console.models import Answer
from services.console.words import Language


class CheckRow(Answer):
    """A condition, whether it held, and the values it saw."""

    text: str = Field(examples=["event.price >= 10000"])
    holds: bool
    values: list[dict[str, Any]] = Field(examples=[[{"what": "event.price", "value": 8000}]])
    parts: list["CheckRow"]
    """What `and` and `or` join, or what a segment asks."""


class FactRow(Answer):
    at: datetime
    local: str = Field(examples=["2026-03-02 21:00"])
    """On the customer's clock."""
    kind: str = Field(examples=["refused"])
    step: str = Field(examples=["first-nudge"])
    text: str
    """The sentence."""
    detail: dict[str, Any]
    checks: list[CheckRow]


class NoteRow(Answer):
    code: str = Field(examples=["dropped"])
    text: str


class LiveRow(Answer):
    key: str
    version: int
    step: str
    entered_at: datetime


class ExplainAnswer(Answer):
    customer: str = Field(examples=["u1"])
    asked_for: str
    """The id that was asked for; it may belong to the customer only."""
    linked: list[str]
    journey: str = Field(examples=["cart-abandonment"])
    title: str
    status: str = Field(examples=["active"])
    timezone: str = Field(examples=["Asia/Seoul"])
    summary: list[str]
    notes: list[NoteRow]
    live: list[LiveRow]
    facts: list[FactRow]
    """In order; the newest, where there are very many, as a note says then."""


MOST_FACTS = 1_000


def answer_of(found: Explanation, language: Language) -> ExplainAnswer:
    teller = Teller(language, found.zone)
    facts, notes = found.facts[-MOST_FACTS:], list(found.notes)
    if len(facts) < len(found.facts):
        detail = {"facts": len(facts), "all": len(found.facts)}
        notes.append(Note("shortened", detail))
    return ExplainAnswer(
        customer=found.customer,
        asked_for=found.asked_for,
        linked=list(found.linked),
        journey=found.journey,
        title=found.flow.title if found.flow is not None else "",
        status=found.status,
        timezone=str(found.zone),
        summary=teller.summary(found.facts, len(found.live)),
        notes=[NoteRow(code=n.code, text=teller.note(n.code, n.detail)) for n in notes],
        live=[
            LiveRow(key=run.key, version=run.version, step=run.step, entered_at=run.entered_at)
            for run in found.live
        ],
        facts=[
            FactRow(
                at=fact.at,
                local=teller.time(fact.at),
                kind=fact.kind,
                step=fact.step,
                text=teller.fact(fact),
                detail=dict(fact.detail),
                checks=[CheckRow.model_validate(check.as_dict()) for check in fact.checks],
            )
            for fact in facts
        ],
    )
