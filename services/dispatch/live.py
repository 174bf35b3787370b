"""Asking the live sources that templates name, before a message is sent (`shared/templates/live`).

Never inside a transaction, and nobody waits for an answer with a place in his hands: a message
whose question has no fresh answer stands in that question's line (`messages.waits_for`), as others
stand in a rate's. The question is asked once for all who have it; when the answer is there its line
may be claimed, and each message is judged by all policies once more. Answers stay in this process's
memory for as long as the template says; each dispatcher asks for itself.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from uuid import uuid4

import msgspec
import structlog

from services.dispatch import metrics
from services.dispatch.calls import answers
from services.dispatch.outbound.client import OutboundClient, Refused, Unreachable, private_hosts
from services.dispatch.pending import Asked
from shared.clock import Clock, wall_clock
from shared.errors import ConfigurationError
from shared.standard_webhooks import headers, read_secrets
from shared.templates.live import Answer, answer_of

logger = structlog.get_logger()

SECRET = "DANGOL_WEBHOOK_SECRET"  # noqa: S105 - its name
MOST_ANSWERS = 10_000
MOST_QUESTIONS = 10_000
"""Under way and waiting; whoever comes with more waits in line until they are fewer."""
MOST_LINES = 50
"""Lines that one turn looks into."""
TRIES = 2
_AGAIN_AFTER = 0.2
_AT_ONCE = 16
_AT_ONE_HOST = 4


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Answer
    until: float


class Live:
    """Questions out, answers kept."""

    def __init__(
        self,
        environment: Mapping[str, str],
        clock: Clock,
        told: Callable[[], None],
        *,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """`environment` holds the secret that signs and the hosts that may be private; `told` is
        called when an answer has come. `now` counts real seconds."""
        self._environment = environment
        self._clock = clock
        self._told = told
        self._now = now
        self._client: OutboundClient | None = None
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._ready: dict[str, None] = {}
        """Lines with an answer, in which somebody of ours waits."""
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._hosts: dict[str, asyncio.Semaphore] = {}

    def answer(self, line: str) -> Answer | None:
        """None: not known, or not any more."""
        kept = self._kept.get(line)
        if kept is None or kept.until <= self._now():
            return None
        return kept.answer

    def ready(self, room: int) -> dict[str, int]:
        """Line → how many of its messages may be claimed. One of a line whose answer has become too
        old meanwhile, so that it is asked for again."""
        offered = zip(self._ready, range(MOST_LINES), strict=False)
        return {line: room if self.answer(line) is not None else 1 for line, _ in offered}

    def served(self, lines: Iterable[str]) -> None:
        """Nobody whom we could claim is left in these."""
        for line in lines:
            self._ready.pop(line, None)

    @property
    def lines(self) -> list[str]:
        """In which messages of ours wait, rightly."""
        return [*self._under_way, *self._ready]

    def ask(self, wanted: Iterable[Asked]) -> None:
        """Begin to ask what is not being asked already."""
        for asked in wanted:
            line = asked.question.line
            if self.answer(line) is not None:  # it came while the transaction was stored
                self._ready[line] = None
                self._told()
            elif line not in self._under_way and len(self._under_way) < MOST_QUESTIONS:
                self._ready.pop(line, None)
                task = asyncio.create_task(self._ask(line, asked), name="live-source")
                self._under_way[line] = task

    async def close(self) -> None:
        for task in tuple(self._under_way.values()):
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def _ask(self, line: str, asked: Asked) -> None:
        try:
            answer = await self._answered(asked)
        finally:
            del self._under_way[line]
        self._kept[line] = _Kept(answer, self._now() + asked.call.cache.total_seconds())
        self._kept.move_to_end(line)
        while len(self._kept) > MOST_ANSWERS:
            self._ready.pop(self._kept.popitem(last=False)[0], None)
        self._ready[line] = None
        said = {True: "true", False: "false", None: "unknown"}[answer.still_true]
        metrics.LIVE_ANSWERS.labels(said).inc()
        if answer.still_true is None:
            logger.warning(
                "a live source could not say whether a claim still holds",
                action="live_source_failed",
                why=answer.why,
                on_error=asked.call.on_error,
            )
        self._told()

    async def _answered(self, asked: Asked) -> Answer:
        host = asked.call.url.split("/")[2]
        share = self._hosts.setdefault(host, asyncio.Semaphore(_AT_ONE_HOST))
        async with share, self._places:
            return await self._tried(asked)

    async def _tried(self, asked: Asked) -> Answer:
        why = ""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(_AGAIN_AFTER)
            found = await self._try(asked)
            if isinstance(found, Answer):
                return found
            why = found
        return Answer(None, {}, why)

    async def _try(self, asked: Asked) -> Answer | str:
        """The answer; a text says why there is none that another try could not mend."""
        try:
            secrets = read_secrets(self._environment.get(SECRET, ""), SECRET)
        except ConfigurationError as error:
            return Answer(None, {}, str(error))
        if not secrets:
            return Answer(None, {}, f"there is no secret to sign the question with: set {SECRET}")
        if self._client is None:
            hosts = private_hosts(self._environment)
            self._client = OutboundClient(hosts, connections=_AT_ONCE)
        body = msgspec.json.encode(
            {
                "type": "message.check",
                "timestamp": self._clock.now(),
                "data": {"with": asked.question.values},
            }
        )
        real_now = wall_clock()
        signed = headers(secrets, f"check_{uuid4().hex}", int(real_now.timestamp()), body)
        timeout = asked.call.timeout.total_seconds()
        try:
            with metrics.LIVE_SECONDS.time():
                reply = await self._client.post(
                    asked.call.url, signed, body, timeout=timeout, most=answers.MOST
                )
        except Unreachable as error:
            return str(error)
        except Refused as error:
            return Answer(None, {}, str(error))
        verdict = answers.of_reply(reply, real_now)
        if verdict.outcome is None:
            return verdict.detail
        if verdict.outcome != "sent":
            return Answer(None, {}, verdict.detail)
        return answer_of(verdict.response)
