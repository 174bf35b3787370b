"""An AlimTalk as Kakao approves it: the wording with `#{…}`, and what each of these stands for.

The library writes every text with Liquid; here the Liquid of an AlimTalk becomes variables, so that
the body is what a shop hands in for approval, word for word.
"""

import json
import re

from services.cli.library.words import Language

_OUTPUT = re.compile(r"\{\{ (?:profile|trigger)\.([a-z_]+)[^}]*\}\}")
_KOREAN = {
    "amount": "금액",
    "basis": "적립근거",
    "benefits": "혜택",
    "effective_on": "변경일",
    "expires_at": "소멸일",
    "name": "상품명",
    "new_price": "변경후요금",
    "old_price": "변경전요금",
    "points": "적립금",
    "renews_at": "결제일",
    "tier": "등급",
    "total": "금액",
    "valid_until": "유효기간",
}
_CUSTOMER = {"ko": "고객명", "en": "customer"}
_LINK = {"ko": "링크", "en": "url"}


def approved_form(message: str, said: str, link: str, language: Language) -> str:
    """The template file; `link` is where `{link}` leads. The code is an example of the form."""
    variables: dict[str, str] = {}

    def variable(found: re.Match[str]) -> str:
        field = found[1]
        name = _KOREAN[field] if language == "ko" else field
        if found[0].startswith("{{ profile.name"):
            name = _CUSTOMER[language]
        variables[name] = found[0]
        return f"#{{{name}}}"

    body = _OUTPUT.sub(variable, said)
    if "{link}" in body:
        variables[_LINK[language]] = link
        body = body.replace("{link}", f"#{{{_LINK[language]}}}")
    code = f"EXAMPLE-{message}" + ("" if language == "ko" else "-en")
    parts = "".join(
        f'"#{{{name}}}": {json.dumps(value, ensure_ascii=False)}\n'
        for name, value in variables.items()
    )
    return f"---\ntemplate_code: {code}\n{parts}---\n{body}\n"
