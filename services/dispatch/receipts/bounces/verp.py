"""The envelope sender of each mail (VERP): whoever returns the mail says which one it was.

`b` and 61 characters of base32 before the bounce domain: the message, the keyed hash of the address
it went to, and 6 bytes of authentication with a key of this installation. So a bounce needs nothing
else to be understood, works for a customer who has been erased, and nobody can make one for an
address whose mail they have not had in their hands. Case may be lost on the way; 62 characters are
within what a local part may have (RFC 5321, section 4.5.3.1.1: 64).
"""

import base64
import hmac
import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

_ID = 16
_HASH = 16
_MAC = 6
_LENGTH = 61
_TOKEN = re.compile(rf"(?<![a-z0-9])b([a-z2-7]{{{_LENGTH}}})(?![a-z0-9])", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{32}")
COMPLAINTS = "fbl"
"""The local part of the bounce domain to which mailbox providers send complaints."""


class Reference(NamedTuple):
    """The mail that a bounce or a complaint is about."""

    message_id: str
    address_hash: str


@dataclass(frozen=True, slots=True)
class ReturnPaths:
    domain: str
    """Lower-case; its mail comes to us."""
    key: bytes

    def address(self, message_id: str, address_hash: str) -> str | None:
        """None for an id that is not one of ours (`derived_id`)."""
        if not (_HEX.fullmatch(message_id) and _HEX.fullmatch(address_hash)):
            return None
        named = bytes.fromhex(message_id + address_hash)
        sealed = base64.b32encode(named + self._mac(named)).decode().rstrip("=").lower()
        return f"b{sealed}@{self.domain}"

    def find(self, text: str) -> Reference | None:
        """The first that this installation has made, wherever it stands in the text."""
        for found in _TOKEN.finditer(text):
            reference = self._read(found[1])
            if reference is not None:
                return reference
        return None

    def is_ours(self, address: str) -> bool:
        """Whether the door takes mail for it: one that we have made, or the one for complaints."""
        local, _, domain = address.lower().rpartition("@")
        if domain != self.domain:
            return False
        found = _TOKEN.fullmatch(local)
        return local == COMPLAINTS or (found is not None and self._read(found[1]) is not None)

    def _read(self, sealed: str) -> Reference | None:
        raw = base64.b32decode(sealed.upper() + "===")
        named, mac = raw[: _ID + _HASH], raw[_ID + _HASH :]
        if not hmac.compare_digest(mac, self._mac(named)):
            return None
        return Reference(named[:_ID].hex(), named[_ID:].hex())

    def _mac(self, named: bytes) -> bytes:
        return blake2b(named, digest_size=_MAC, key=self.key).digest()


def make_return_paths(domain: str, installation_key: bytes) -> ReturnPaths:
    key = blake2b(installation_key, digest_size=32, person=b"dangol-verp").digest()
    return ReturnPaths(domain.lower(), key)
