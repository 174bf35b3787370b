"""Addresses of other systems, as they may stand in a workspace's files."""

import re
from urllib.parse import urlsplit


def checked_url(text: str) -> str:
    """The address as it is; raises ValueError with what is wrong with it.

    Where it leads is checked when it is called (`services/dispatch/outbound`).
    """
    try:
        parts = urlsplit(text)
        whole = bool(re.fullmatch(r"https?://\S+", text) and parts.hostname and parts.port != 0)
    except ValueError:
        whole = False
    if not whole:
        raise ValueError(f"`{text[:60]}` is no address: write https://…")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address holds no name or password: secrets do not stand in a file")
    return text
