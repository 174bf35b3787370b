"""The adapter `log`: the whole path runs, nothing leaves the house.

The rendered message is the attempt's detail, as JSON (`parts`, `body`, and `cut: true` where the
body was too long to keep whole), so that it can be shown.
"""

import msgspec

from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup

LONGEST = 16_384
"""Characters of body and of each part that are kept."""


class LogAdapter:
    name = "log"
    deduplicates = False

    async def send(self, message: Outgoing) -> Result:
        return Result(Outcome.ACCEPTED, detail=shown(message))

    async def close(self) -> None:
        return None


def shown(message: Outgoing) -> str:
    kept: dict[str, object] = {
        "parts": {name: text[:LONGEST] for name, text in message.content.parts.items()},
        "body": message.content.body[:LONGEST],
    }
    if len(message.content.body) > LONGEST:
        kept["cut"] = True
    return msgspec.json.encode(kept).decode()


def create(_setup: Setup) -> Adapter:
    return LogAdapter()
