"""What the engine hands to dispatch with a `call`: the body of the request, the same on every try.

The shape is that of a Standard Webhooks payload, `{"type", "timestamp", "data"}`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

CHANNEL = "dangol_calls"
"""The wake-up that tells callers of calls they may make."""

TYPE = "journey.call"


def body(
    *, customer: str, journey: str, step: str, run_id: str, values: Mapping[str, Any], at: datetime
) -> bytes:
    """Who it is about, where it comes from, and what `with:` gave along; nothing else leaves."""
    return msgspec.json.encode(
        {
            "type": TYPE,
            "timestamp": at.astimezone(UTC),
            "data": {
                "customer": customer,
                "journey": journey,
                "step": step,
                "run": run_id,
                "with": dict(values),
            },
        }
    )


def host_of(url: str) -> str:
    """By what calls to one receiver are counted: host and port."""
    return urlsplit(url).netloc.lower()
