"""A customer's RFM score is told by the log, and kept where conditions find it."""

import msgspec

from services.journey.core.work import Walk
from shared.event import Event
from shared.rfm import score_of


def take(work: Walk, event: Event) -> None:
    """The newest score wins. Nobody comes to be by being scored: who was erased stays so."""
    state = work.state
    known = state.rfm
    if known is None and not state.seen:
        return
    if state.erased_at is not None and event.timestamp <= state.erased_at:
        return
    if known is not None and event.timestamp < known.at:
        return
    told = event.properties
    recency, frequency, monetary = (told.get(n) for n in ("recency", "frequency", "monetary"))
    score = None
    if isinstance(recency, int) and isinstance(frequency, int):
        monetary = monetary if isinstance(monetary, int) else None
        score = score_of(recency, frequency, monetary, event.timestamp)
    if score != known:
        work.state = msgspec.structs.replace(state, rfm=score)
