"""The end of an advertising mail: the sender's postal address, where a pack asks for it."""

import re
from html import escape, unescape

from shared.packs.rules import packs_of
from shared.workspace import Policies

_STYLE = "font-size:12px;color:#666666;text-align:center"


def with_address(policies: Policies, channel: str, html: str) -> str:
    """The body of an advertisement, which names the sender's address once (and the sender, where a
    pack asks for it): where its template writes it, however spaced, else at its end."""
    sender = policies.sender
    if channel != "email" or sender is None:
        return html
    rules = [pack.address for pack in packs_of(policies.packs) if pack.address is not None]
    if not rules:
        return html
    said = _plain(re.sub(r"<[^<>]*>", " ", html))
    named = _plain(sender.name) in said or not any(rule.names_sender for rule in rules)
    if named and _plain(sender.address) in said:
        return html
    line = f'<p style="{_STYLE}">{escape(sender.name)} · {escape(sender.address)}</p>'
    end = html.lower().rfind("</body>")
    if end < 0:
        return f"{html}\n{line}"
    return f"{html[:end]}{line}\n{html[end:]}"


def _plain(text: str) -> str:
    """Words alone, so that a line's end or a comma in another place makes no second address."""
    return " ".join(re.findall(r"\w+", unescape(text))).casefold()
