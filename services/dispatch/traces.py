"""A provider's call as a span of its message's trace, while tracing is on."""

from collections.abc import Awaitable

from services.dispatch.channels.port import Outcome, Result
from services.dispatch.pending import Attempt
from shared import message
from shared.tracing import Tracer


async def of_call(tracer: Tracer, attempt: Attempt, call: Awaitable[Result]) -> Result:
    trace = message.unpack(attempt.pending.context).trace
    if not trace:
        return await call
    about = attempt.pending.message
    with tracer.span(
        "provider call",
        "client",
        parent=trace,
        attributes={
            "dangol.channel": attempt.outgoing.channel,
            "dangol.adapter": attempt.adapter,
            "dangol.attempt": attempt.number,
            "dangol.journey": about.journey,
            "dangol.step": about.step,
            "dangol.message": attempt.pending.key.id,
        },
    ) as span:
        result = await call
        span.note({"dangol.outcome": str(result.outcome)})
        if result.outcome not in (Outcome.ACCEPTED, Outcome.DELIVERED):
            span.failed(str(result.outcome))
        return result
