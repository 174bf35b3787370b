"""A whole workspace out of the library, as path → text."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

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
        "README.md": _readme(chosen, language, shop, made),
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
    text = text.replace("{shop}", shop.name(language)).replace("{address}", shop.address(language))
    return text.replace("{channels}", "\n".join(lines.values()))


def _readme(chosen: Iterable[Entry], language: Language, shop: Shop, made: Iterable[str]) -> str:
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
    examples = [f"   {each}" for each in _examples(shop, language, made)]
    filled = {
        "{journeys}": "\n".join(rows),
        "{examples}": "\n".join(examples) or "   | - | - |",
        "{events}": "\n".join(event_rows(needs_of(chosen), language, with_source=False)),
    }
    text = catalogue.read(f"workspace/README.{language}.md")
    for name, value in filled.items():
        text = text.replace(name, value)
    return text


_EXAMPLES: Mapping[Language, Mapping[str, str]] = {
    "ko": {
        "korean": "상호",
        "english": "영문 상호",
        "phone": "대표 전화",
        "refusal": "무료 수신거부 080 번호",
        "korean_address": "주소",
        "english_address": "영문 주소",
        "email": "보내는 이메일",
        "site": "쇼핑몰 주소",
    },
    "en": {
        "english": "the shop's name",
        "phone": "the telephone number",
        "english_address": "the postal address",
        "email": "the sender's e-mail address",
        "site": "the web site",
    },
}


def _examples(shop: Shop, language: Language, made: Iterable[str]) -> Iterator[str]:
    """Rows with what a shop has to put its own for."""
    example = Shop()
    for field, what in _EXAMPLES[language].items():
        value: str = getattr(shop, field)
        if value == getattr(example, field):
            yield row((f"`{value}`", what))
    if any("/alimtalk." in path for path in made):
        yield row(("`template_code: EXAMPLE-…`", "카카오가 승인한 알림톡 템플릿의 코드"))
