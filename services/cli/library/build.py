"""A whole workspace out of the library, as path → text."""

import re
from collections.abc import Iterable, Sequence

from services.cli.library import catalogue, messages
from services.cli.library.catalogue import Entry
from services.cli.library.needs import needs_of
from services.cli.library.plan import plan_of
from services.cli.library.shop import Shop
from services.cli.library.tables import event_rows, row
from services.cli.library.words import Language, in_language

__all__ = ["Shop", "build"]

_CHANNEL = re.compile(r"^templates/[^/]+/([a-z_]+)\.")
_ORDER = ("email", "sms", "alimtalk", "push", "slack")


def build(
    chosen: Sequence[Entry], language: Language, shop: Shop, *, plan: bool = False
) -> dict[str, str]:
    """The workspace of these entries: exactly the segments and templates that they use.

    `chosen` holds what each entry needs, see `catalogue.with_needs`. With `plan` comes a tracking
    plan of the events that they read.
    """
    made: dict[str, str] = {}
    for journey in (journey for entry in chosen for journey in entry.journeys):
        text = in_language(catalogue.read(f"journeys/{journey}.yaml"), language)
        made[f"journeys/{journey}.yaml"] = text.replace("{site}", shop.site)
        for segment in catalogue.segments_of(journey):
            source = catalogue.read(f"segments/{segment}.yaml")
            made[f"segments/{segment}.yaml"] = in_language(source, language)
        is_advertising = catalogue.is_advertising(journey)
        for template in catalogue.templates_of(journey):
            made.update(messages.files_of(template, shop, language, is_advertising=is_advertising))
    if plan:
        made["events.yaml"] = plan_of(chosen, language)
    return {
        "dangol.yaml": _settings(made, language, shop),
        "README.md": _readme(chosen, language, shop),
        ".github/workflows/journeys.yml": catalogue.read("workspace/journeys.yml"),
        **dict(sorted(made.items())),
    }


def _settings(made: dict[str, str], language: Language, shop: Shop) -> str:
    used = {match[1] for path in made if (match := _CHANNEL.match(path))}
    lines = {name: f"  {name}: {{adapter: log}}" for name in sorted(used, key=_ORDER.index)}
    if "email" in lines:
        lines["email"] = f'  email: {{adapter: log, from: "{shop.name(language)} <{shop.email}>"}}'
    text = catalogue.read(f"workspace/dangol.{language}.yaml")
    if any("rfm." in content for path, content in made.items() if path.startswith("journeys/")):
        text += "\n" + catalogue.read(f"workspace/rfm.{language}.yaml")
    return text.replace("{channels}", "\n".join(lines.values()))


def _readme(chosen: Iterable[Entry], language: Language, shop: Shop) -> str:
    rows = [
        row(
            (
                "<br>".join(f"`journeys/{journey}.yaml`" for journey in entry.journeys),
                entry.title[language],
                catalogue.class_of(entry, language),
                entry.sends[language],
            )
        )
        for entry in chosen
    ]
    examples = [
        "   " + row((f"`{value}`", what[language]))
        for value, what in _examples(shop, language)
        if "example" in value or "예시" in value or re.search(r"\b0\d+-000-0000\b", value)
    ]
    filled = {
        "{journeys}": "\n".join(rows),
        "{examples}": "\n".join(examples) or "   | - | - |",
        "{events}": "\n".join(event_rows(needs_of(chosen), language, with_source=False)),
    }
    text = catalogue.read(f"workspace/README.{language}.md")
    for name, value in filled.items():
        text = text.replace(name, value)
    return text


def _examples(shop: Shop, language: Language) -> list[tuple[str, dict[Language, str]]]:
    """What a shop has to put its own for."""
    listed: list[tuple[str, dict[Language, str]]] = [
        (shop.name(language), {"ko": "상호", "en": "the shop's name"}),
        (shop.phone, {"ko": "대표 전화", "en": "the telephone number"}),
        (shop.address(language), {"ko": "주소", "en": "the postal address"}),
        (shop.email, {"ko": "보내는 이메일", "en": "the sender's e-mail address"}),
        (shop.site, {"ko": "쇼핑몰 주소", "en": "the web site"}),
    ]
    if language == "ko":
        listed.insert(1, (shop.english, {"ko": "영문 상호", "en": "the shop's English name"}))
        listed.insert(3, (shop.refusal, {"ko": "무료 수신거부 080 번호", "en": "the 080 number"}))
        listed.insert(5, (shop.english_address, {"ko": "영문 주소", "en": "its English form"}))
    return listed
