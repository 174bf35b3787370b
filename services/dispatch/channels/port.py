"""A channel adapter's contract, written once for every adapter.

**Sending.** `send` hands one rendered message to the provider and returns what became of it; it
never raises for anything a provider or a network does (one function per adapter maps foreign errors
to an `Outcome`, and a test proves the map total). It makes one attempt: retrying, counting and
deciding belong to the dispatcher, which has recorded the attempt before it calls. It returns within
`Setup.timeout` seconds. `UNKNOWN` is for exactly one case: the provider may have taken the message
and did not say so. Whatever is certain not to have been taken is one of the others.

**Concurrency.** Up to `Setup.concurrency` calls of `send` run at once on one event loop; none may
block it. If `send` is cancelled, the adapter drops the connection it used.

**Secrets and people.** Credentials and addresses appear in no error, log line or `Result`.

**Closing.** `close` is called once, when no `send` is under way, and does not raise.

Adapters register a factory `(Setup) -> Adapter` as an entry point of the group `dangol.channels`;
the factory raises ConfigurationError, with what is missing, and opens no connection.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, runtime_checkable

from shared.decisions import Category
from shared.images import Image
from shared.kakao_templates import Approved
from shared.templates import Rendered
from shared.workspace import ChannelSettings


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    """The provider has taken it."""
    DELIVERED = "delivered"
    """It has arrived, and the provider says so at once."""
    UNDELIVERABLE_ADDRESS = "undeliverable_address"
    """Nobody is there: the address is closed to all further messages."""
    REJECTED_MESSAGE = "rejected_message"
    """The provider refused this message; the address may be fine."""
    BROKEN_CONNECTION = "broken_connection"
    """The provider cannot be used at all (down, wrong key, unpaid): the channel is paused."""
    THROTTLED = "throttled"
    """Too fast. Tried again later, and not counted as a try."""
    RETRYABLE = "retryable"
    """A temporary failure: tried again, a bounded number of times."""
    UNKNOWN = "unknown"
    """It may have been taken: never sent again unless the operator chose so."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One rendered message for one address."""

    message_id: str
    """Our id, the same for every attempt: the idempotency key where a provider takes one."""
    attempt: int
    channel: str
    address: str
    category: Category
    content: Rendered
    """The front matter's parts (such as `subject`), the body, and a text for who reads no HTML."""
    at: datetime
    """The instant of the attempt by Dangol's clock."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """For channels whose messages have headers: `List-Unsubscribe` and the like."""
    return_path: str | None = None
    """The envelope sender by which this mail is known when it comes back; None: the sender's."""
    image: Image | None = None
    """The file of the workspace that the content's `image` names."""
    approved: Approved | None = None
    """The template that Kakao has approved under the content's `template_code`, where known."""
    token: str | None = None
    """What the adapter's `prepare` has answered for this message (`Preparing`)."""
    resumes: bool = False
    """The token is an earlier attempt's, which may have got further than we know."""
    repeats: int | None = None
    """The number of the earlier attempt that this one repeats, because what became of that one is
    unknown: for providers that know a repetition by its key. A new try after a definite answer
    repeats nothing, and needs a new key where the provider remembers refused ones too."""


@dataclass(frozen=True, slots=True)
class Result:
    outcome: Outcome
    provider_id: str | None = None
    detail: str = ""
    """What the provider said, for the record; the dispatcher bounds it."""
    retry_after: timedelta | None = None
    """The provider's own wish, which wins over ours."""
    awaits_report: bool = False
    """Of `ACCEPTED`: the provider tells by a report whether the message has arrived."""
    polled: bool = False
    """Of `ACCEPTED`: the provider tells what became of the message only when it is asked, by
    `provider_id` (`services/dispatch/receipts/texts/polls.py`)."""
    gone_since: datetime | None = None
    """Of `UNDELIVERABLE_ADDRESS`: when the provider found that nobody is there. An address that the
    customer has given since is not closed."""
    opted_out: bool = False
    """The provider says that the person has refused advertising from us on this channel."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a provider says, when it is asked, of a message that it has taken."""

    outcome: Outcome
    detail: str
    number: str = ""
    """The recipient's, as the provider writes it."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What an adapter is made of."""

    channel: str
    settings: ChannelSettings
    environment: Mapping[str, str]
    """Secrets and base URLs, `DANGOL_…`."""
    concurrency: int
    timeout: float
    """Real seconds within which `send` returns."""


class Adapter(Protocol):
    name: str
    deduplicates: bool
    """The provider drops a second message with the same id, so `unknown` may be sent again. Where
    it does so for a limited time, the adapter also has `deduplicates_for`, a timedelta: what is
    still unknown by then stays so."""

    async def send(self, message: Outgoing) -> Result: ...

    async def close(self) -> None: ...


@runtime_checkable
class Preparing(Protocol):
    """An adapter whose provider sends in two steps, of which the second may be repeated.

    `prepare` makes what the second step names, and sends nothing: a lost answer is `RETRYABLE`.
    The dispatcher records the token durably before it calls `send`, and hands it to every later
    attempt, so that these find what an earlier one has left.
    """

    async def prepare(self, message: Outgoing) -> str | Result: ...


Factory = Callable[[Setup], Adapter]
