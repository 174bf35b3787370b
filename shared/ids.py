"""Deterministic names: redoing work makes the same ids, so that unique keys make it harmless."""

from hashlib import blake2b


def derived_id(*parts: str) -> str:
    """32 hexadecimal characters from the parts; length-prefixed, so no two part lists collide."""
    digest = blake2b(digest_size=16)
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(4, "big"))
        digest.update(raw)
    return digest.hexdigest()


def fraction(*parts: str) -> float:
    """A number in [0, 1) that the parts decide: sticky holdouts and splits without randomness."""
    return int(derived_id(*parts)[:13], 16) / 16**13
