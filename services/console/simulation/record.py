"""What has really happened to the messages and calls that a replay makes again.

Ids derive from what caused them, so a replay of the same events makes the same ones: a message
that dispatch has decided is decided so again, at the instant at which it really was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from services.dispatch.policy import PassedOver
from services.journey.core.effects import MakeCall
from shared.decisions import CallOutcome, Reason
from shared.decisions import Decision as DecisionWord
from shared.event import Event, answer_event

NOT_YET = datetime.max.replace(tzinfo=UTC)
"""When something happens that has not happened yet."""


@dataclass(frozen=True, slots=True)
class Known:
    """A message as it is on record; without a `decision` it still waits."""

    at: datetime = NOT_YET
    decision: DecisionWord | None = None
    channel: str = ""
    reason: Reason | None = None
    passed_over: tuple[PassedOver, ...] = ()

    @property
    def is_past_recall(self) -> bool:
        """An attempt had been recorded before anything could withdraw it."""
        return self.decision is not None and self.reason is not Reason.RUN_ENDED


@dataclass(frozen=True, slots=True)
class KnownCall:
    """A call as it is on record; without an `outcome` it has not been answered yet."""

    at: datetime = NOT_YET
    outcome: CallOutcome | None = None
    reason: Reason | None = None
    response: Any = None
    """None where it is not kept any more."""

    def event(self, customer: str, made: MakeCall) -> Event:
        assert self.outcome is not None
        return answer_event(
            call_id=made.id,
            customer=customer,
            at=self.at,
            step=made.step,
            run_id=made.run_id,
            outcome=self.outcome,
            reason=None if self.reason is None else str(self.reason),
            response=self.response,
        )


@dataclass(frozen=True, slots=True)
class OnRecord:
    """By id."""

    messages: Mapping[str, Known] = field(default_factory=dict)
    calls: Mapping[str, KnownCall] = field(default_factory=dict)
    events: frozenset[str] = frozenset()
    """Ids of the stored events: what a step emitted is among them."""


NOTHING = OnRecord()
