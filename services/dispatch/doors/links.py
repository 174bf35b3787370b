"""The links that a message carries, as tokens that nobody else can make or read.

A token is authenticated and encrypted (AES-SIV, RFC 5297) with a key of this installation: it names
the customer, so it works without a login and without a row to look up, also after the customer has
been erased; it shows nobody whose it is; and a click's link leads only where a template led. The
same content makes the same token, so a message that is rendered again has the same links.
"""

import base64
import binascii
from dataclasses import dataclass
from hashlib import blake2b

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

LONGEST_URL = 4000
_LONGEST_TOKEN = 12_000


class Leave(msgspec.Struct, frozen=True, array_like=True, tag="u"):
    """Unsubscribing, and preferences."""

    customer: str
    channel: str
    """Of the message that carries the link."""
    message_id: str
    address_hash: str
    """Closed where the customer is no longer known."""


class Click(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    customer: str
    message_id: str
    url: str


class Opening(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    customer: str
    message_id: str


Content = Leave | Click | Opening
_encoder = msgspec.msgpack.Encoder()
_decoder: "msgspec.msgpack.Decoder[Content]" = msgspec.msgpack.Decoder(Content)


@dataclass(frozen=True, slots=True)
class Links:
    base: str
    """This installation's public address, without a slash at the end."""
    cipher: AESSIV

    def preferences(self, content: Leave) -> str:
        return f"{self.base}/u/{self._token(content)}"

    def click(self, content: Click) -> str:
        return f"{self.base}/c/{self._token(content)}"

    def opening(self, content: Opening) -> str:
        return f"{self.base}/o/{self._token(content)}"

    def _token(self, content: Content) -> str:
        sealed = self.cipher.encrypt(_encoder.encode(content), None)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def read(self, token: str) -> Content | None:
        """None for what this installation did not make."""
        if len(token) > _LONGEST_TOKEN or not token.isascii():
            return None
        try:
            sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            return _decoder.decode(self.cipher.decrypt(sealed, None))
        except (InvalidTag, ValueError, binascii.Error, msgspec.MsgspecError):
            return None


def make_links(public_url: str, installation_key: bytes) -> Links:
    """`public_url` is where customers reach this installation."""
    key = blake2b(installation_key, digest_size=64, person=b"dangol-links").digest()
    return Links(public_url.rstrip("/"), AESSIV(key))
