"""The pages: one to watch journeys and messages, one that shows the API. No assets from elsewhere.

Their scripts and styles stand in the page and are named by hash in its policy, so that nothing
else can run there.
"""

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import HTMLResponse

from services.console.api_page import render_api
from services.console.words import language_of

router = APIRouter(include_in_schema=False)

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


@cache
def _watch() -> str:
    return Path(__file__).with_name("page.html").read_text(encoding="utf-8")


@router.get("/")
async def watch(
    lang: Annotated[str | None, Query()] = None,
    accept_language: Annotated[str | None, Header()] = None,
) -> HTMLResponse:
    language = language_of(lang, accept_language)
    text = _watch().replace('<html lang="en">', f'<html lang="{language}">', 1)
    return _page(text, {"Content-Language": language, "Vary": "Accept-Language"})


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    return _page(render_api(request.app.openapi()), {})


def _page(text: str, headers: dict[str, str]) -> HTMLResponse:
    return HTMLResponse(text, headers={"Content-Security-Policy": policy_of(text), **headers})


def policy_of(text: str) -> str:
    """The strictest policy that lets this very page work."""
    allowed: dict[str, list[str]] = {"script": [], "style": []}
    for kind, content in _INLINE.findall(text):
        digest = b64encode(sha256(content.encode()).digest()).decode()
        allowed[kind].append(f"'sha256-{digest}'")
    return "; ".join(
        [
            "default-src 'none'",
            "script-src " + (" ".join(allowed["script"]) or "'none'"),
            "style-src " + (" ".join(allowed["style"]) or "'none'"),
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
