"""Who sends: what stands in every label and footer."""

import re
from dataclasses import dataclass, fields

from services.cli.library.words import Language
from shared.errors import BadInput

_UNFIT = re.compile(r"[\"'{}%<>\\\x00-\x1f|]")


@dataclass(frozen=True, slots=True)
class Shop:
    """The sender. What is not given is an example, and says so."""

    korean: str = "단골상점(예시)"
    english: str = "Dangol Shop (example)"
    phone: str = "02-000-0000"
    refusal: str = "080-000-0000"
    """The number by which Korean customers refuse advertising texts for nothing."""
    email: str = "hello@shop.example"
    korean_address: str = "서울시 예시구 보기로 1"
    english_address: str = "1 Example Road, Exampletown"
    site: str = "https://shop.example"

    def __post_init__(self) -> None:
        """Raises BadInput for what cannot stand in a template or an address."""
        for field in fields(self):
            value: str = getattr(self, field.name)
            if not value.strip() or len(value) > 100 or _UNFIT.search(value):
                raise BadInput(
                    f"`{value[:40]}` cannot stand in a message",
                    hint="write up to 100 characters, without quotes, braces, <, >, %, | and \\",
                )
        if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", self.site):
            raise BadInput(
                f"`{self.site[:60]}` is no address of a web site",
                hint="for example https://www.shop.example",
            )

    def name(self, language: Language) -> str:
        return self.korean if language == "ko" else self.english

    def address(self, language: Language) -> str:
        return self.korean_address if language == "ko" else self.english_address
