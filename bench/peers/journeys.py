"""The twenty journeys that Dangol and the stream libraries run from the same broker.

This file imports nothing of ours: it is also read in the peers' own environments. Each journey is
triggered by one event name, with conditions on the event's properties, and is of one of four kinds:

A  a message at once, then a day's wait; not again while it runs
B  waits up to two days for another event, and sends when that comes
C  a message for each trigger
D  an hour's wait, then a message; not again while it runs
"""

import json
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any

Row = dict[str, Any]
State = list[Any]

NAMES = ["Order Completed", "Product Viewed", "Cart Updated", "Signed Up", "Email Opened"]
_DAY = 86_400


def _table() -> Iterator[Row]:
    rng = random.Random(1)
    for number in range(20):
        yield {
            "number": number,
            "name": NAMES[number % 5],
            "total": rng.choice([50, 150, 300]),
            "categories": sorted(rng.sample(["shoes", "bags", "coats", "hats"], 2)),
            "no_gifts": number % 3 == 0,
            "kind": "ABCD"[number % 4],
            "waits_for": NAMES[(number + 1) % 5],
        }


JOURNEYS = list(_table())


def shop_event(rng: random.Random, customer: str, name: str) -> Row:
    """About 580 bytes, like a Segment SDK's track call; every benchmark's."""
    return {
        "messageId": str(uuid.UUID(int=rng.getrandbits(128))),
        "type": "track",
        "event": name,
        "userId": customer,
        "properties": {
            "order_id": f"ord_{rng.randrange(10**10):010d}",
            "total": round(rng.random() * 500, 2),
            "currency": "EUR",
            "items": rng.randrange(1, 9),
            "category": rng.choice(["shoes", "bags", "coats", "hats"]),
            "sku": f"SKU-{rng.randrange(10**6):06d}",
            "coupon": None,
            "is_gift": rng.random() < 0.2,
            "url": f"https://shop.example/checkout/{rng.randrange(10**8):08d}?utm_source=newsletter",
        },
        "context": {
            "ip": "10.1.2.3",
            "locale": "en-GB",
            "timezone": "Europe/Berlin",
            "library": {"name": "analytics-python", "version": "2.3.1"},
            "device": {"id": str(uuid.UUID(int=rng.getrandbits(128))), "type": "ios"},
        },
    }


def events(count: int, customers: int) -> list[Row]:
    rng = random.Random(7)
    made = (
        shop_event(rng, f"cust_{rng.randrange(customers):08d}", rng.choice(NAMES))
        for _ in range(count)
    )
    return [{**event, "timestamp": "2026-11-22T10:00:00.000Z"} for event in made]


def workspace() -> dict[str, str]:
    """The same journeys for Dangol: file name → text."""
    found = {}
    for row in JOURNEYS:
        where = (
            f"event.total > {row['total']} and event.category in {json.dumps(row['categories'])}"
        )
        where += " and event.is_gift == false" if row["no_gifts"] else ""
        send = "{send: email, template: hello, id: hello}"
        steps = {
            "A": f"  - {send}\n  - wait: 1d\n",
            "B": f"  - wait_for: {{event: {row['waits_for']}, timeout: 2d}}\n    then: [{send}]\n",
            "C": f"  - {send}\n",
            "D": f"  - wait: 1h\n  - {send}\n",
        }[row["kind"]]
        key = "entry: {key: event.order_id}\n" if row["kind"] == "C" else ""
        found[f"journeys/j{row['number']}.yaml"] = (
            f"journey: j{row['number']}\n"
            f"trigger:\n  event: {row['name']}\n  where: '{where}'\n{key}steps:\n{steps}"
        )
    return found


def _matches(row: Row) -> Callable[[Row], bool]:
    """Compiled to one Python function, as somebody who writes for such a library would write it."""
    gifts = " and get('is_gift') is False" if row["no_gifts"] else ""
    source = (
        "def test(properties):\n"
        "    get = properties.get\n"
        f"    total = get('total')\n"
        f"    return total is not None and total > {row['total']}"
        f" and get('category') in {set(row['categories'])!r}{gifts}\n"
    )
    scope: dict[str, Any] = {}
    exec(source, scope)
    test: Callable[[Row], bool] = scope["test"]
    return test


_BY_NAME: dict[str, list[Any]] = {}
for _row in JOURNEYS:
    _found = (_row["number"], _matches(_row), _row["kind"], _row["waits_for"])
    _BY_NAME.setdefault(_row["name"], []).append(_found)


def step(event: Row, state: State | None) -> tuple[State, list[Any]]:  # noqa: C901 - as one would write it
    """The journeys by hand on a JSON-able state: the new state, and the messages to send."""
    if state is None:
        state = [0, "", {}]
    sent = []
    name, properties, runs = event["event"], event["properties"], state[2]
    state[0] += 1
    state[1] = event["timestamp"]
    if runs:
        for number, run in list(runs.items()):
            if run[0] == 2 and run[2] == name:
                sent.append((number, event["userId"]))
                del runs[number]
    for number, test, kind, waits_for in _BY_NAME.get(name, ()):
        if not test(properties):
            continue
        key = str(number)
        if kind == "C":
            sent.append((key, event["userId"]))
        elif key not in runs:
            if kind == "A":
                sent.append((key, event["userId"]))
                runs[key] = [1, 10.0 + _DAY, None]
            elif kind == "B":
                runs[key] = [2, 10.0 + 2 * _DAY, waits_for]
            else:
                runs[key] = [1, 10.0 + 3_600, None]
    return state, sent
