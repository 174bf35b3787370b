"""What a `call`, of a step or of a template, is answered where nothing leaves the house."""

from dataclasses import dataclass
from typing import Any

from services.journey.core.effects import MakeCall
from shared.decisions import CallOutcome, Reason
from shared.event import Event, answer_event
from shared.templates.live import Answer, answer_of

_NOT_NOW = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Stub:
    """A receiver's answer; what is tried again in production has been given up here at once."""

    status: int = 200
    response: Any = None

    @property
    def verdict(self) -> tuple[CallOutcome, Reason | None]:
        if 200 <= self.status < 300:
            return "sent", None
        if self.status in _NOT_NOW or self.status >= 500:
            return "failed", Reason.RETRIES_EXHAUSTED
        return "failed", Reason.REJECTED

    @property
    def live(self) -> Answer:
        """Of a template's live source."""
        if 200 <= self.status < 300:
            return answer_of(self.response)
        return Answer(None, {}, f"HTTP {self.status}")

    def event(self, customer: str, made: MakeCall) -> Event:
        outcome, reason = self.verdict
        return answer_event(
            call_id=made.id,
            customer=customer,
            at=made.at,
            step=made.step,
            run_id=made.run_id,
            outcome=outcome,
            reason=None if reason is None else str(reason),
            response=self.response,
        )


TAKEN = Stub()
