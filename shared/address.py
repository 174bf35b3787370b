"""Where a channel reaches a customer: the address in the traits, in its one canonical form.

An address with a wrong shape is absent. Emails keep their local part and get a lower-case ASCII
domain, phone numbers become E.164 (a national number is read with the workspace's country).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec
import phonenumbers

from shared.channels import CHANNELS, AddressKind

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_DOMAIN = re.compile(
    r"(?=.{4,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+"
    r"(?:[a-z][a-z0-9-]{0,61}[a-z0-9])"
)
_ABROAD = re.compile(r"\s*00(?=[1-9])")
_LONGEST_EMAIL = 254
_LONGEST_TOKEN = 4096


@lru_cache(maxsize=4096)
def email_address(text: str) -> str | None:
    """`Ann@Shop.Example` → `Ann@shop.example`; None for what no mail server would take."""
    local, at, domain = text.strip().rpartition("@")
    if not at or not _LOCAL.fullmatch(local):
        return None
    domain = domain.lower()
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode()
        except UnicodeError:
            return None
    if not _DOMAIN.fullmatch(domain) or len(local) + 1 + len(domain) > _LONGEST_EMAIL:
        return None
    return f"{local}@{domain}"


@lru_cache(maxsize=4096)
def phone_number(text: str, country: str | None) -> str | None:
    """`010-1234-5678` in KR → `+821012345678`; None where that is no possible number.

    `0082 10…` is how many write `+82 10…`, also where calls abroad begin otherwise.
    """
    region = country.upper() if country else None
    found = _e164(text, region)
    if found is None and (abroad := _ABROAD.match(text)) is not None:
        return _e164("+" + text[abroad.end() :], None)
    return found


def _e164(text: str, region: str | None) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    # A number without its area code reaches nobody: it is possible "only locally".
    reason = phonenumbers.is_possible_number_with_reason(number)
    if number.extension or reason != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    formatted: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return formatted


def push_token(text: str) -> str | None:
    token = text.strip()
    return token if token.isprintable() and 0 < len(token) <= _LONGEST_TOKEN else None


def web_push_subscription(value: object) -> str | None:
    """A browser's subscription as canonical JSON; of a list the last one that is whole."""
    for found in reversed(value if isinstance(value, list) else [value]):
        if not isinstance(found, Mapping):
            continue
        endpoint, keys = found.get("endpoint"), found.get("keys")
        if (
            isinstance(endpoint, str)
            and endpoint.startswith(("https://", "http://"))
            and len(endpoint) <= _LONGEST_TOKEN
            and isinstance(keys, Mapping)
            and all(isinstance(keys.get(name), str) for name in ("p256dh", "auth"))
        ):
            kept = {"endpoint": endpoint, "keys": {n: keys[n] for n in ("auth", "p256dh")}}
            return msgspec.json.encode(kept).decode()
    return None


def _token_of_a_device(devices: object) -> str | None:
    """Of the newest one that is registered; see `services.journey.core.devices`."""
    for device in devices if isinstance(devices, list) else ():
        token = device.get("token") if isinstance(device, Mapping) else None
        if isinstance(token, str) and (found := push_token(token)) is not None:
            return found
    return None


def address_of(
    channel: str, customer: str, traits: Mapping[str, Any], country: str | None
) -> str | None:
    """The customer's address on the channel. Channels without one are reached by the customer id;
    a channel that this release does not know has none."""
    known = CHANNELS.get(channel)
    if known is None:
        return None
    if known.address == "none":
        return customer
    if known.address == "web_push":
        return web_push_subscription(traits.get("web_push"))
    value = traits.get(known.address)
    if known.address == "push_token" and value is None:
        return _token_of_a_device(traits.get("devices"))
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    match known.address:
        case "email":
            return email_address(value)
        case "phone":
            return phone_number(value, country)
        case _:
            return push_token(value)


def address_hash(kind: AddressKind, address: str, key: bytes) -> str:
    """What `suppressions` keeps instead of the address: 32 hexadecimal characters.

    `key` is the installation's own secret, at most 64 bytes: without it the hash of a guessed
    address cannot be compared.
    """
    canonical = address.lower() if kind == "email" else address
    return blake2b(f"{kind}:{canonical}".encode(), digest_size=16, key=key).hexdigest()
