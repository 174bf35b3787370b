"""What a shop's page needs to subscribe browsers: a snippet, a service worker, the public key.

The page loads `/web-push/subscribe.js` and calls `dangolWebPush(…)` when a customer presses a
button (browsers ask for permission only then). The worker has to be a file of the shop's own
origin, with one line: `importScripts("https://…/web-push/worker.js")`. The subscription reaches
Dangol as the trait `web_push`, through the analytics SDK that the page already has.
"""

from functools import cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response

_SHARED = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=3600"}


@cache
def _script(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def web_push_routes(public_key: str) -> APIRouter:
    router = APIRouter(prefix="/web-push", tags=["doors"])

    @router.get("/key")
    async def key() -> Response:
        """The key that browsers subscribe with."""
        content = f'{{"key": "{public_key}"}}'
        return Response(content, media_type="application/json", headers=_SHARED)

    @router.get("/subscribe.js")
    async def subscribe() -> Response:
        """For the shop's page."""
        return Response(_script("subscribe.js"), media_type="text/javascript", headers=_SHARED)

    @router.get("/worker.js")
    async def worker() -> Response:
        """For the shop's service worker, by importScripts."""
        return Response(_script("worker.js"), media_type="text/javascript", headers=_SHARED)

    return router
