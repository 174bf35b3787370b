"""Deterministic names: redoing work makes the same ids, so that unique keys make it harmless."""

from hashlib import blake2b

_SHORT = tuple(length.to_bytes(4, "big") for length in range(512))
"""Made once: an event that starts two runs names half a dozen things."""


def derived_id(*parts: str) -> str:
    """32 hexadecimal characters from the parts; length-prefixed, so no two part lists collide."""
    told: list[bytes] = []
    for part in parts:
        raw = part.encode()
        length = len(raw)
        told.append(_SHORT[length] if length < len(_SHORT) else length.to_bytes(4, "big"))
        told.append(raw)
    return blake2b(b"".join(told), digest_size=16).hexdigest()


def fraction(*parts: str) -> float:
    """A number in [0, 1) that the parts decide: sticky holdouts and splits without randomness."""
    return int(derived_id(*parts)[:13], 16) / 16**13
