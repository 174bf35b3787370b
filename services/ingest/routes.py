"""Every path that an SDK calls, and what is done there.

Each stands with and without its last slash: a redirect turns POST into GET, and a redirected
preflight fails. Paths without `/v1` are there because some SDKs put only the last part behind the
host that is configured. docs/ingest.md lists them for people, `schema.py` for programs.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from services.ingest.wire import WireKind


class Does(Enum):
    EVENTS = auto()
    """Takes events as Segment's SDKs write them."""
    POSTHOG = auto()
    """Takes events as PostHog's SDKs write them."""
    POSTHOG_V1 = auto()
    """The same, with a Bearer key and an answer that names each event."""
    IMPORT = auto()
    """Takes what happened before: profile and history, and no journey moves by it."""
    WEBHOOK = auto()
    """Takes another house's webhook, as the workspace describes it."""
    CATALOG = auto()
    """Takes events that belong to no customer, from servers."""
    FORGET = auto()
    """Takes what SDKs tell of themselves, and forgets it."""
    SEGMENT_SETTINGS = auto()
    RUDDER_SETTINGS = auto()
    POSTHOG_FLAGS = auto()
    POSTHOG_CONFIG = auto()
    POSTHOG_SCRIPT = auto()


TAKES_EVENTS = frozenset({Does.EVENTS, Does.IMPORT, Does.POSTHOG, Does.POSTHOG_V1})
"""From customers."""


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    """As metrics label it; never with anything from the request in it."""
    does: Does = Does.EVENTS
    kind: WireKind | None = None
    """What the event is if it does not say: named by the path."""
    one_chance: bool = False
    """The SDKs that call this path send each event once, whatever they are answered."""
    methods: frozenset[str] = frozenset({"POST"})
    key: str = ""
    """The write key, or the webhook's source, on a path that holds one."""


_KINDS: Mapping[str, WireKind | None] = {
    "batch": None,
    "track": "track",
    "identify": "identify",
    "page": "page",
    "screen": "screen",
    "group": "group",
    "alias": "alias",
}
_READ = frozenset({"GET", "HEAD"})
_READ_OR_POST = _READ | {"POST"}
_FORGET = Route("telemetry", Does.FORGET)
_POSTHOG = Route("posthog", Does.POSTHOG)
_FLAGS = Route("posthog_flags", Does.POSTHOG_FLAGS, methods=_READ_OR_POST)


def _paths() -> Iterator[tuple[str, Route]]:
    for name, kind in _KINDS.items():
        route = Route(name, kind=kind)
        yield f"/v1/{name}", route
        yield f"/v1/{name[0]}", route
        yield f"/{name[0]}", route  # `apiHost` of analytics-next and of phones, without its /v1
        once = replace(route, one_chance=True)
        yield f"/api/public/apps/{name}", once  # Dittofeed
        yield f"/api/s/{name}", once  # Jitsu
        yield f"/api/s/s2s/{name}", once
    yield "/beacon/v1/batch", Route("batch")
    yield "/v1/import", Route("import", Does.IMPORT)
    yield "/v1/catalog", Route("catalog", Does.CATALOG)
    for path in ("/v1/m", "/m", "/rsaMetrics"):
        yield path, _FORGET
    yield "/sourceConfig", Route("source_config", Does.RUDDER_SETTINGS, methods=_READ)
    for path in ("/batch", "/capture", "/e", "/i/v0/e"):
        yield path, _POSTHOG
    yield "/i/v1/analytics/events", Route("posthog", Does.POSTHOG_V1)
    for path in ("/flags", "/decide"):
        yield path, _FLAGS


ROUTES: Mapping[str, Route] = {
    path + slash: route for path, route in _paths() for slash in ("", "/")
}

AT_ONCE: Mapping[bytes, Route] = {
    path.encode(): route
    for path, route in ROUTES.items()
    if route.does is Does.EVENTS and not route.one_chance
}
"""The paths of the commonest requests, as they stand in a request's first line."""

_SETTINGS = Route("settings", Does.SEGMENT_SETTINGS, methods=_READ)
_CONFIG = Route("posthog_config", Does.POSTHOG_CONFIG, methods=_READ)
_SCRIPT = replace(_CONFIG, does=Does.POSTHOG_SCRIPT)
_WEBHOOK = Route("webhook", Does.WEBHOOK)
_KEY = r"([A-Za-z0-9_.:-]{1,256})"
_WITH_KEY = (
    (re.compile(r"/v1/webhook/([a-z0-9-]{1,40})/?"), _WEBHOOK),
    (re.compile(rf"/(?:v1/)?projects/{_KEY}/settings/?"), _SETTINGS),
    (re.compile(rf"/array/{_KEY}/config/?"), _CONFIG),
    (re.compile(rf"/array/{_KEY}/config\.js"), _SCRIPT),
)
_BEFORE_KEYS = ("/v1/webhook/", "/v1/projects/", "/projects/", "/array/")


def find(path: str) -> Route | None:
    """The route of a path; None for one that no SDK calls."""
    route = ROUTES.get(path)
    if route is None and path.startswith(_BEFORE_KEYS):
        for pattern, with_key in _WITH_KEY:
            if match := pattern.fullmatch(path):
                return replace(with_key, key=match[1])
    return route
