"""The sentences of an explanation, in English and Korean.

A reason is always told by the sentence that `console/words.py` has for it; what is added here are
the numbers, the values and the names.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.console.explaining.checks import Check, Seen
from services.console.explaining.facts import Fact
from services.console.explaining.phrases import CHANNELS, NOTES, PHRASES, ROOTS, Phrases
from services.console.words import NOTICES_UNGIVEN, Language, sentences
from shared.channels import titles
from shared.templates.korean import with_particle

_PLAIN = re.compile(r"\w+(\.\w+)*")
_LONGEST = 80
_MOST_SEEN = 4
"""Conditions told in one sentence; the JSON has all."""


class _Word(str):
    """A word that takes the Korean particle that it needs: `{channel:으로/로}`."""

    def __format__(self, particle: str) -> str:
        return with_particle(self, particle) if particle else str(self)


class Teller:
    """Facts to sentences, for one language and one customer's clock."""

    def __init__(self, language: Language, zone: ZoneInfo) -> None:
        self._ko = language == "ko"
        self._phrases: Phrases = {kind: words[self._ko] for kind, words in PHRASES.items()}
        self._notes: Phrases = {code: words[self._ko] for code, words in NOTES.items()}
        self._roots = {root: words[self._ko] for root, words in ROOTS.items()}
        own = {name: words[self._ko] for name, words in CHANNELS.items()}
        self._channels = {**titles(language), **own}
        self._reasons = sentences(language)
        self._ungiven = {why: words[self._ko] for why, words in NOTICES_UNGIVEN.items()}
        self._zone = zone

    def time(self, at: datetime) -> str:
        """`2026-03-02 21:00`, on the customer's clock."""
        return f"{at.astimezone(self._zone):%Y-%m-%d %H:%M}"

    def reason(self, reason: str | None) -> str:
        return "" if reason is None else self._reasons.get(reason, reason)

    def note(self, code: str, detail: Mapping[str, Any]) -> str:
        return self._notes[code].format_map(self._said(detail))

    def fact(self, fact: Fact) -> str:
        if fact.kind == "note":
            return self.note(fact.detail["code"], fact.detail)
        kind = _phrase_of(fact)
        said = self._phrases[kind].format_map({**self._said(fact.detail), "step": _Word(fact.step)})
        if kind == "event" and fact.detail["properties"]:
            said = f"{said} ({self._properties(fact.detail['properties'])})"
        sentences = [said]
        if fact.kind in ("refused", "message", "held", "message_waits", "answered"):
            sentences.append(self.reason(fact.detail.get("reason")))
        if fact.kind == "notice_overdue":
            sentences.append(
                self._ungiven.get(fact.detail["reason"]) or self.reason(fact.detail["reason"])
            )
        if fact.kind == "refused":
            sentences.append(self._behind(fact.detail))
        if fact.kind == "message_waits" and fact.detail.get("why"):
            sentences.append(self._phrases["waits_because"].format_map(self._said(fact.detail)))
        if fact.kind == "message":
            sentences += self._why(fact, "why")
            sentences += self._passed_over(fact.detail["passed_over"])
            sentences += self._why(fact, "provider_said")
            sentences += self._held(fact)
            if not fact.detail.get("on_record", True):
                sentences.append(self._phrases["not_on_record"])
        sentences += self._checks(fact)
        return " ".join(part for part in sentences if part)

    def summary(self, facts: tuple[Fact, ...], live: int) -> list[str]:
        """What it comes to, in a few sentences."""
        entered = sum(fact.kind == "entered" for fact in facts)
        decided = [fact for fact in facts if fact.kind == "message"]
        sent = sum(fact.detail["decision"] == "sent" for fact in decided)
        said: dict[str, Any] = {"sent": sent, "others": len(decided) - sent}
        if entered or live or decided:
            times = _TIMES.get(entered, "sum_times")
            said["times"] = self._phrases[times].format(n=entered)
            told = [self._phrases["sum_entered"].format_map(said)]
            told += [self._phrases["sum_live"].format_map(said)] if live else []
            missed = [fact for fact in decided if fact.detail["decision"] != "sent"]
            return told + [self.fact(fact) for fact in missed[-1:]]
        refused = [fact for fact in facts if fact.kind == "refused"]
        told = [self._phrases["sum_never"]]
        if refused:
            many = "sum_refused" if len(refused) > 1 else "sum_refused_once"
            told.append(self._phrases[many].format(n=len(refused)))
            told.append(f"{self.time(refused[-1].at)}: {self.fact(refused[-1])}")
        elif not any(fact.kind == "event" for fact in facts):
            told.append(self._phrases["sum_nothing"])
        return told

    def _said(self, detail: Mapping[str, Any]) -> dict[str, Any]:
        said = {name: _Word(self._plain(value)) for name, value in detail.items()}
        for name in ("channel", "channels"):
            if name in detail:
                given = detail[name] if isinstance(detail[name], list) else [detail[name]]
                said[name] = _Word(", ".join(self._channels.get(each, each) for each in given))
        if self._ko and "title_ko" in said:
            said["title"] = said["title_ko"]
        if "kind" in said:
            said["kind"] = _Word(self._phrases.get(f"kind_{said['kind']}", said["kind"]))
        return said

    def _plain(self, value: Any) -> str:
        """A name or a list of names, without quotes."""
        if isinstance(value, list):
            return ", ".join(self._value(each, quoted=False) for each in value)
        return self._value(value, quoted=False)

    def _behind(self, detail: Mapping[str, Any]) -> str:
        phrase = self._phrases.get(f"behind_{detail['reason']}")
        if phrase is None or not all(detail.get(name) for name in _NEEDED[detail["reason"]]):
            return ""
        return phrase.format_map(self._said(detail))

    def _why(self, fact: Fact, name: str) -> list[str]:
        """What stands behind a message's reason, where something does."""
        if not fact.detail.get(name):
            return []
        return [self._phrases[name].format_map(self._said(fact.detail))]

    def _passed_over(self, passed: list[Mapping[str, str]]) -> Iterator[str]:
        for each in passed:
            said = self._phrases["passed_over"].format_map(self._said(each))
            yield f"{said} {self.reason(each['reason'])}"

    def _held(self, fact: Fact) -> Iterator[str]:
        """That it was held before it was decided, as the record has it."""
        reason, made = fact.detail.get("held_reason"), fact.detail.get("made_at")
        if reason and made:
            since = self._phrases["held_since"].format(since=self._value(made))
            yield f"{since} {self.reason(reason)}"

    # Conditions ------------------------------------------------------------------------------

    def _checks(self, fact: Fact) -> Iterator[str]:
        told = [part for check in fact.checks for part in check.telling()]
        for part in told[:_MOST_SEEN]:
            yield self.check(part)
        if len(told) > _MOST_SEEN:
            yield self._phrases["more"].format(n=len(told) - _MOST_SEEN)

    def check(self, check: Check) -> str:
        inner = [part for each in check.parts for part in each.telling()]
        if check.joined_by == "segment":
            behind = " ".join(self.check(part) for part in inner[:_MOST_SEEN])
            said = self._phrases["holds" if check.holds else "fails"].format(text=check.text)
            return f"{said} {behind}"
        kind = "holds" if check.holds else "fails"
        if not check.seen:
            return self._phrases[kind].format(text=check.text)
        values = ", ".join(self.seen(each) for each in check.seen)
        return self._phrases[f"{kind}_seen"].format(text=check.text, values=values)

    def seen(self, seen: Seen) -> str:
        root, dot, rest = seen.what.partition(".")
        named = (
            self._roots.get(root)
            if dot and rest.replace("_", "").replace(".", "").isalnum()
            else None
        )
        what = f"`{seen.what}`" if named is None else named.format(rest)
        kind = "seen_missing" if seen.value is None else "seen"
        return self._phrases[kind].format(what=what, value=self._value(seen.value))

    def _properties(self, given: Mapping[str, Any]) -> str:
        return ", ".join(f"{name} {self._value(value)}" for name, value in given.items())

    def _value(self, value: Any, *, quoted: bool = True) -> str:
        match value:
            case None:
                return self._phrases["nothing"]
            case bool():
                return self._phrases["yes" if value else "no"]
            case float() if value.is_integer():
                return f"{int(value):,}"
            case int() | float():
                return f"{value:,}"
            case str():
                at = _instant(value)
                if at is not None:
                    return self.time(at)
                cut = value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"
                return f"“{cut}”" if quoted else cut
            case list():
                return f"[{', '.join(self._value(each) for each in value)}]"
            case dict():
                return "{" + self._properties(value) + "}"
            case _:
                return str(value)


_TIMES = {1: "sum_once", 2: "sum_twice"}
_NEEDED = {
    "too_old": ("age", "allowed"),
    "already_running": ("since",),
    "reentry": ("last", "rule"),
}


def _phrase_of(fact: Fact) -> str:
    """Which phrase tells the fact: that of its kind, or one for what is special about it."""
    detail = fact.detail
    special = ""
    match fact.kind:
        case "event":
            special = f"event_{detail['by']}"
        case "message":
            special = f"message_{detail['decision']}"
        case "reached" if detail["kind"] == "branch":
            chosen = "branch_otherwise" if detail.get("otherwise") else "branch"
            special = "branch_none" if detail.get("way") is None else chosen
        case "reached":
            special = f"reached_{detail['kind']}" if detail["kind"] else "at_step"
        case "ended":
            special = f"ended_{detail['reason']}"
        case "held_out":
            special = f"held_out_{detail['by']}"
        case kind:
            special = _special(kind, detail)
    return special if special in PHRASES else fact.kind


def _special(kind: str, detail: Mapping[str, Any]) -> str:
    match kind:
        case "waits" if "events" in detail:
            return "waits_for"
        case "goal" if detail["value"] is not None:
            return "goal_value"
        case "entered" if detail["key"]:
            return "entered_key"
        case "consent":
            return "consent_given" if detail["granted"] else "consent_withdrawn"
        case "segment_now":
            return "segment_in" if detail["inside"] else "segment_out"
        case "message_waits" if detail["reason"]:
            return "message_held"
        case _:
            return kind


def _instant(text: str) -> datetime | None:
    """An instant, as the facts write it; a date alone is none."""
    if len(text) < 20 or text[10] != "T":
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if at.tzinfo is None else at
