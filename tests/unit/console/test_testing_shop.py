"""A small workspace for the tests of the test runner."""

from collections.abc import Mapping
from textwrap import indent

from services.console.testing.running import Report, Result, run_suites
from services.console.testing.suites import read_suites
from services.journey.language.problems import Problem
from services.journey.language.workspace import load_workspace

SETTINGS = """
timezone: Asia/Seoul
policies:
  quiet_hours: [{category: marketing, from: "21:00", to: "08:00"}]
  frequency_caps: [{category: marketing, limit: 2, per: 24h}]
channels:
  email: {adapter: log}
  push: {adapter: log}
"""
CART = """journey: cart
trigger: {event: Added, where: event.price >= 100}
entry: {key: event.cart_id, when_active: restart, reentry: 3d, where: profile.email != null}
exit:
  - event: Bought
    where: event.cart_id == trigger.cart_id
steps:
  - wait: 1h
  - branch:
      - when: profile.tier == "vip"
        steps:
          - send: push
            else: email
            template: hello
            id: nudge
          - exit: told
      - otherwise: []
  - wait_for: {event: Seen, where: event.much == true, timeout: 2h}
    id: look
    then:
      - exit: seen
    timed_out:
      - send: email
        template: hello
        id: mail
"""
CUSTOMER = (
    "{id: u1, traits: {email: a@shop.example, push_token: t, consent: {email: true, push: true}}}"
)
ADDED = "{event: Added, properties: {cart_id: c1, price: 300}}"


def case(
    expect: str,
    *events: str,
    name: str = "a name",
    at: str = "2026-03-02T10:00+09:00",
    customer: str = CUSTOMER,
    until: str = "",
) -> str:
    """One test as YAML: an item of `tests:`."""
    lines = [f"name: {name}", f"at: {at}", f"customer: {customer}", "events:"]
    lines += [f"  - {event}" for event in events or (ADDED,)]
    lines += [f"until: {until}"] if until else []
    lines += [f"expect: {expect}"]
    return "  - " + indent("\n".join(lines), "    ").lstrip() + "\n"


def files(*tests: str, cart: str = CART, **more: str) -> dict[str, bytes]:
    """`more` are further journeys by file name."""
    journey = cart + ("tests:\n" + "".join(tests) if tests else "")
    found = {
        "dangol.yaml": SETTINGS,
        "journeys/cart.yaml": journey,
        "templates/hello/email.liquid": "---\nsubject: Hello\n---\n<p>Hello</p>\n",
        "templates/hello/push.liquid": "---\ntitle: Hello\n---\nHello\n",
    }
    found |= {f"journeys/{name}.yaml": text for name, text in more.items()}
    return {name: text.encode() for name, text in found.items()}


def run(content: Mapping[str, bytes]) -> Report:
    report, problems = attempt(content)
    assert problems == []
    return report


def attempt(content: Mapping[str, bytes]) -> tuple[Report, list[Problem]]:
    loaded = load_workspace(content)
    assert loaded.problems == (), [problem.render() for problem in loaded.problems]
    problems: list[Problem] = []
    suites = read_suites(content, loaded.flows, problems, templates=loaded.templates)
    return run_suites(suites, loaded), problems


def one(expect: str, *events: str, **more: str) -> Result:
    """The result of a single test."""
    (result,) = run(files(case(expect, *events, **more))).results
    return result


def said(expect: str, *events: str, **more: str) -> list[tuple[str, str, str]]:
    """The differences of a single test: clause, expected, got."""
    differences = one(expect, *events, **more).differences
    return [(each.what, each.expected, each.got) for each in differences]
