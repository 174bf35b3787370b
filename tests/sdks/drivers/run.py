"""run.py SDK '{"host": …}': send `count` events of one customer, one after the other with a pause.

Exits with an error if the SDK itself gives an event up.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

Lost = Callable[..., object]
Opened = tuple[Callable[[int], object], Callable[[], object]]
"""How to track the n-th event, and how to deliver what is queued."""


def segment_python(host: str, key: str, user: str, lost: Lost) -> Opened:
    from segment.analytics.client import Client

    client = Client(key, host=host, upload_interval=0.1, on_error=lost)
    return lambda n: client.track(user, "Sent", {"n": n}), client.shutdown


def rudderstack_python(host: str, key: str, user: str, lost: Lost) -> Opened:
    from rudderstack.analytics.client import Client

    client = Client(key, host=host, upload_interval=0.1, on_error=lost)
    return lambda n: client.track(user, "Sent", {"n": n}), client.shutdown


def posthog_python(host: str, key: str, user: str, lost: Lost, **options: Any) -> Opened:
    from posthog import Posthog

    client = Posthog(key, host=host, flush_interval=0.1, on_error=lost, **options)
    return (
        lambda n: client.capture("Sent", distinct_id=user, properties={"n": n}),
        client.shutdown,
    )


def posthog_python_v1(host: str, key: str, user: str, lost: Lost) -> Opened:
    return posthog_python(host, key, user, lost, capture_mode="v1")


def main() -> None:
    name, settings = sys.argv[1], json.loads(sys.argv[2])
    count, pause = settings.pop("count"), settings.pop("pause") / 1000
    losses: list[object] = []
    opening: Callable[..., Opened] = globals()[name.replace("-", "_")]
    track, close = opening(**settings, lost=lambda error, *_: losses.append(error))
    for n in range(count):
        track(n)
        time.sleep(pause)
    close()
    if losses:
        sys.exit(f"the SDK gave up: {losses}")


if __name__ == "__main__":
    main()
