"""Traits that are there and count as absent, with the reason, for whoever looks a customer up."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.console.models import AbsentRow
from shared.address import email_address, phone_number, push_token
from shared.local_time import known_zones

_LONGEST = 80


def absent_traits(traits: Mapping[str, Any], country: str | None, zone: str) -> Iterator[AbsentRow]:
    """`country` and `zone` are the workspace's."""
    stated = traits.get("timezone")
    if stated is not None and (not isinstance(stated, str) or stated not in known_zones()):
        why = f"`{_short(stated)}` is no IANA time zone; {zone} is used"
        yield AbsentRow(trait="timezone", why=why)
    email = traits.get("email")
    if email is not None and (not isinstance(email, str) or email_address(email) is None):
        yield AbsentRow(trait="email", why=f"`{_short(email)}` is no e-mail address")
    phone = traits.get("phone")
    if phone is not None and phone_number(str(phone), country) is None:
        where = f" in {country}" if country else "; national ones need `country` in dangol.yaml"
        yield AbsentRow(trait="phone", why=f"`{_short(phone)}` is no possible number{where}")
    token = traits.get("push_token")
    if token is not None and (not isinstance(token, str) or push_token(token) is None):
        yield AbsentRow(trait="push_token", why="it is no token that a push service gives")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
