"""A mail's links and its opening: rewritten before it is sent, told apart when somebody comes.

Only `http` and `https` links of HTML bodies are rewritten; a template with `track: false` keeps its
own. Machines that look into mail before a person does (scanners, privacy proxies) are told apart as
far as they show themselves; what they do is counted and is no click.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from html import escape, unescape
from typing import Literal

from services.dispatch.doors.links import LONGEST_URL, Click, Links, Opening
from shared.templates import Rendered

_LINK = re.compile(r"(<a\b[^>]*?\bhref\s*=\s*)(\"|')(https?://[^\"'<>]*)\2", re.IGNORECASE)
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
_OFF = frozenset({"false", "no", "off", "0"})
_AT_ONCE = timedelta(seconds=1)
"""Faster than a person opens a mail and clicks: a scanner on its way in."""
_MACHINES = re.compile(
    r"bot\b|crawl|spider|scan|preview|prefetch|headless|phantom|python|curl|wget|java/|go-http|"
    r"okhttp|libwww|barracuda|proofpoint|mimecast|trendmicro|symantec|sophos|fireeye|forcepoint|"
    r"safelinks|googleimageproxy-scan|bingpreview|skypeuripreview|slackbot|facebookexternalhit|"
    r"kakaotalk-scrap|whatsapp|telegrambot|microsoft office|ms-office",
    re.IGNORECASE,
)
APPLE_PROXY = "Mozilla/5.0"
"""All that Apple's Mail Privacy Protection says of itself; it fetches whether or not one reads."""


def tracked(content: Rendered, links: Links, customer: str, message_id: str) -> Rendered:
    """With its links led through us: those of an HTML body, and the `link` of a push message."""
    if content.parts.get("track", "").lower() in _OFF:
        return content
    if not content.html:
        link = content.parts.get("link", "")
        if not link.startswith(("https://", "http://")) or len(link) > LONGEST_URL:
            return content
        ours = links.click(Click(customer, message_id, link))
        return Rendered({**content.parts, "link": ours}, content.body, html=False)

    own = tuple(f"{links.base}/{door}/" for door in "uco")

    def rewritten(found: re.Match[str]) -> str:
        url = unescape(found[3])
        if len(url) > LONGEST_URL or url.startswith(own):
            return found[0]
        ours = links.click(Click(customer, message_id, url))
        return f"{found[1]}{found[2]}{escape(ours)}{found[2]}"

    pixel = (
        f'<img src="{escape(links.opening(Opening(customer, message_id)))}" width="1" height="1"'
        ' alt="" style="display:block;border:0">'
    )
    body = _LINK.sub(rewritten, content.body)
    ends = [end.start() for end in _BODY_END.finditer(body)]
    place = ends[-1] if ends else len(body)
    return Rendered(content.parts, body[:place] + pixel + body[place:], html=True)


Who = Literal["person", "machine", "apple"]


def who_asks(
    method: str, headers: Mapping[str, str], sent_at: datetime | None, now: datetime
) -> Who:
    """`machine`: a scanner or a preview; `apple`: Apple's privacy proxy, which fetches every mail
    whether or not somebody reads it."""
    agent = headers.get("user-agent", "").strip()
    if method == "GET" and agent == APPLE_PROXY:
        return "apple"
    if method != "GET" or not agent or _MACHINES.search(agent):
        return "machine"
    purpose = headers.get("sec-purpose", "") + headers.get("purpose", "") + headers.get("x-moz", "")
    if "prefetch" in purpose or "preview" in purpose:
        return "machine"
    return "machine" if sent_at is not None and now - sent_at < _AT_ONCE else "person"
