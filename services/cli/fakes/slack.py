"""Slack's `chat.postMessage`, played: a bot token, and 200 also for what it refuses.

https://docs.slack.dev/reference/methods/chat.postMessage
"""

import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.cli.fakes.base import Condition, Fake, Taken


class FakeSlack(Fake):
    """Of a channel that is called as a condition, such as `#throttled`, that becomes true."""

    def __init__(self, token: str) -> None:
        super().__init__("slack")
        self._token = token

    def asgi(self) -> Starlette:
        return self.app(Route("/api/chat.postMessage", self._post, methods=["POST"]))

    async def _post(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self._token}":
            self.refused.append("the token is another one")
            return JSONResponse({"ok": False, "error": "invalid_auth"})
        body: dict[str, Any] = await request.json()
        to = str(body.get("channel", ""))
        condition = self.condition(to.removeprefix("#"))
        if condition == "hang":
            return await self.say_nothing()
        refusal = _SLACK.get(condition)
        if refusal is not None:
            status, error = refusal
            headers = {"retry-after": "3"} if status == 429 else None
            return JSONResponse({"ok": False, "error": error}, status, headers)
        at = f"{time.time():.6f}"  # noqa: TID251 - how Slack names a message
        self.taken.append(Taken(at, to, str(body["text"]), "slack", None, body))
        if condition == "taken-then-silent":
            return await self.say_nothing()
        return JSONResponse({"ok": True, "channel": to, "ts": at})


_SLACK: dict[Condition, tuple[int, str]] = {
    "nobody": (200, "channel_not_found"),
    "refused": (200, "msg_too_long"),
    "throttled": (429, "ratelimited"),
    "unavailable": (200, "service_unavailable"),
    "error": (200, "fatal_error"),
}
