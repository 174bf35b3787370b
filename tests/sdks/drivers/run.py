"""run.py SDK '{"host": …}': send `count` events of one customer, one after the other with a pause;
or, with `kinds`, make one call of each kind that the SDK has.

Exits with an error if the SDK itself gives an event up.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

Lost = Callable[..., object]
Opened = tuple[Callable[[int], object], Callable[[str], object], Callable[[], object]]
"""How to track the n-th event; to make a call of each kind, for a customer who had another id; to
deliver what is queued."""


def segment_python(host: str, key: str, user: str, lost: Lost) -> Opened:
    from segment.analytics.client import Client

    return _of_segments_kind(Client, host, key, user, lost)


def rudderstack_python(host: str, key: str, user: str, lost: Lost) -> Opened:
    from rudderstack.analytics.client import Client

    return _of_segments_kind(Client, host, key, user, lost)


def analytics_python(host: str, key: str, user: str, lost: Lost) -> Opened:
    from analytics.client import Client  # 1.x, in an environment of its own

    return _of_segments_kind(Client, host, key, user, lost)


def _of_segments_kind(
    client_type: Callable[..., Any], host: str, key: str, user: str, lost: Lost
) -> Opened:
    client = client_type(key, host=host, upload_interval=0.1, on_error=lost)

    def kinds(old: str) -> None:
        client.identify(user, {"plan": "pro"})
        client.page(user, "Docs", "Home", {"path": "/"})
        client.screen(user, "App", "Start")
        client.group(user, "g1", {"size": 3})
        client.alias(old, user)

    return lambda n: client.track(user, "Sent", {"n": n}), kinds, client.shutdown


def posthog_python(host: str, key: str, user: str, lost: Lost, **options: Any) -> Opened:
    from posthog import Posthog

    client = Posthog(key, host=host, flush_interval=0.1, on_error=lost, **options)

    def kinds(old: str) -> None:
        client.set(distinct_id=user, properties={"plan": "pro"})
        client.capture("$pageview", distinct_id=user, properties={"path": "/"})
        client.capture("$screen", distinct_id=user, properties={"$screen_name": "Start"})
        client.group_identify("company", "g1", {"size": 3}, distinct_id=user)
        client.alias(old, user)

    return (
        lambda n: client.capture("Sent", distinct_id=user, properties={"n": n}),
        kinds,
        client.shutdown,
    )


def posthog_python_v1(host: str, key: str, user: str, lost: Lost) -> Opened:
    return posthog_python(host, key, user, lost, capture_mode="v1", capture_compression="deflate")


def main() -> None:
    name, settings = sys.argv[1], json.loads(sys.argv[2])
    count, pause = settings.pop("count"), settings.pop("pause") / 1000
    losses: list[object] = []
    opening: Callable[..., Opened] = globals()[name.replace("-", "_")]
    each = settings.pop("kinds")
    track, kinds, close = opening(**settings, lost=lambda error, *_: losses.append(error))
    if each:
        kinds(f"old-{settings['user']}")
    for n in range(count):
        track(n)
        time.sleep(pause)
    close()
    if losses:
        sys.exit(f"the SDK gave up: {losses}")


if __name__ == "__main__":
    main()
