"""What SDKs in browsers fetch before they send anything: their settings.

Each is the least that its SDK starts with, and switches off what is of no use here. A key is not
looked up: it is public, and a page whose key was revoked shall hear so when it sends an event.
Without such a document, or without the CORS headers, an SDK is dead for as long as the page lives.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from services.ingest.routes import Does, Route
from shared.errors import BadInput
from shared.keys import hash_of

_HOST = re.compile(r"[A-Za-z0-9.\-_]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")

_FLAGS: Mapping[str, Any] = {
    "flags": {},
    "featureFlags": {},
    "featureFlagPayloads": {},
    "errorsWhileComputingFlags": False,
}
_CONFIG: Mapping[str, Any] = {
    "supportedCompression": ["gzip", "gzip-js"],
    "analytics": {"endpoint": "/i/v0/e/"},
    "hasFeatureFlags": False,
    "autocapture_opt_out": True,
    "capturePerformance": False,
    "captureDeadClicks": False,
    "autocaptureExceptions": False,
    "heatmaps": False,
    "sessionRecording": False,
    "productTours": False,
    "conversations": False,
    "elementsChainAsString": True,
    "isAuthenticated": False,
    "toolbarParams": {},
    "siteApps": [],
}
"""PostHog's names. What it could record of its own accord stays off: pages say what they send.

`surveys` is not there at all: even false makes the SDK fetch their script.
"""


def document(route: Route, key: str, base: str) -> bytes:
    """The document of a route for a key; `base` is where the client reached us: see `base_of`."""
    if route.does is Does.SEGMENT_SETTINGS:
        return _encode(_segment(key, base))
    if route.does is Does.RUDDER_SETTINGS:
        return _encode(_rudder(key))
    if route.does is Does.POSTHOG_FLAGS:
        return _encode({**_CONFIG, **_FLAGS})
    if route.does is Does.POSTHOG_SCRIPT:
        name, config = _encode(key).decode(), _encode({"token": key, **_CONFIG}).decode()
        return (
            "(function(w){w._POSTHOG_REMOTE_CONFIG=w._POSTHOG_REMOTE_CONFIG||{};"
            f"w._POSTHOG_REMOTE_CONFIG[{name}]={{config:{config},siteApps:[]}}}})(window);"
        ).encode()
    return _encode({"token": key, **_CONFIG})


def base_of(scheme: str, headers: Mapping[bytes, bytes], root: str) -> str:
    """`https://host:port/root`, as the client wrote it. Raises BadInput for a host that is none.

    A proxy that ends TLS says so in `X-Forwarded-Proto`. Nobody can deceive others with it: the
    answer goes to whoever said it, and names it in `Vary`.
    """
    host = headers.get(b"host", b"").decode("latin-1")
    if not _HOST.fullmatch(host):
        raise BadInput("The header `Host` is missing or is no host.")
    forwarded = headers.get(b"x-forwarded-proto", b"").decode("latin-1").partition(",")[0]
    if forwarded.strip().lower() == "https":
        scheme = "https"
    return f"{scheme}://{host}{root}"


def _segment(key: str, base: str) -> dict[str, Any]:
    """Exactly one integration: without it the SDK sends to Segment, and more load their plugins."""
    protocol, _, host = base.partition("://")
    destination = {"apiKey": key, "apiHost": f"{host}/v1", "protocol": protocol}
    return {
        "integrations": {"Segment.io": destination},
        "metrics": {"sampleRate": 0},
        "plan": {},
        "edgeFunction": {},
        "middlewareSettings": {},
    }


def _rudder(key: str) -> dict[str, Any]:
    off = {"enabled": False}
    source = {
        "id": hash_of(key)[:27],
        "name": "Dangol",
        "writeKey": key,
        "workspaceId": "dangol",
        "enabled": True,
        "config": {"statsCollection": {"errors": off, "metrics": off}},
        "destinations": [],
    }
    return {"source": source}


def _encode(value: object) -> bytes:
    return msgspec.json.encode(value)
