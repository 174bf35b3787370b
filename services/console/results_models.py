"""What the results API answers."""

from pydantic import Field

from services.console.lift import Verdict
from services.console.models import Answer


class IntervalRow(Answer):
    low: float = Field(examples=[0.004])
    high: float = Field(examples=[0.031])


class GroupRow(Answer):
    entered: int = Field(examples=[900])
    converted: int = Field(examples=[63])
    rate: float | None = Field(examples=[0.07])
    """Converted by entered; null where nobody entered."""
    interval: IntervalRow
    """95 %, Wilson."""
    revenue: float = Field(examples=[2520000.0])
    revenue_per_entry: float | None = Field(examples=[2800.0])


class VariantRow(Answer):
    """One arm of a split, without those who were held out."""

    step: str = Field(examples=["split-5"])
    variant: str = Field(examples=["discount"])
    group: GroupRow
    sent: int
    """Messages of the steps that none but this variant comes to, and what receipts say of them."""
    delivered: int
    opened: int
    clicked: int


class SendRow(Answer):
    """One send step: messages decided, and what receipts say of those sent."""

    step: str = Field(examples=["first-nudge"])
    sent: int
    dropped: int
    failed: int
    unknown: int
    delivered: int
    opened: int
    clicked: int


class LiftRow(Answer):
    verdict: Verdict
    sentence: str
    """For a person, in the language that was asked for."""
    difference: float | None = Field(examples=[0.018])
    """Share of the treated that converted, less that of the held out."""
    interval: IntervalRow | None
    """95 %, Newcombe 1998, method 10."""
    relative: float | None = Field(examples=[0.35])
    revenue_difference: float | None = Field(examples=[640.0])
    """Revenue an entry, treated less held out."""
    revenue_interval: IntervalRow | None
    """95 %, Welch; null below 30 conversions in each group."""
    entries_needed: int | None
    """Entries in each group that would show a difference as large as this one."""


class ComparisonRow(Answer):
    """One variant beside another of the same split, or beside those held out at that split."""

    step: str = Field(examples=["split-5"])
    variant: str = Field(examples=["discount"])
    other: str | None = Field(examples=["scarcity"])
    """null: those held out."""
    lift: LiftRow
    """Its differences are the variant's less the other's. Where a split has more comparisons of a
    kind, their intervals hold together in 95 % (Bonferroni)."""


class ResultsAnswer(Answer):
    journey: str = Field(examples=["cart-abandonment"])
    has_goal: bool
    treated: GroupRow
    held_out: GroupRow
    lift: LiftRow
    variants: list[VariantRow]
    comparisons: list[ComparisonRow]
    sends: list[SendRow]
