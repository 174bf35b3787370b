"""A message's texts as template files: with label, sender and the way to refuse where they belong.

`messages/<name>.yaml` holds what is said, in both languages, for every channel. What the law or the
channel puts around it is the same for all messages and stands here once.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from services.cli.library.alimtalk import approved_form
from services.cli.library.catalogue import read_yaml
from services.cli.library.shop import Shop
from services.cli.library.words import Language

TEXTS = ("alimtalk", "sms", "push", "slack")
_LINK_STYLE = "color:#6b6459;"
_FONTS = (
    "-apple-system,BlinkMacSystemFont,'Apple SD Gothic Neo','Malgun Gothic','Noto Sans KR',"
    "sans-serif"
)
_PAGE = f"margin:0;padding:24px 12px;background:#ece8df;font-family:{_FONTS};"
_SHEET = (
    "max-width:560px;margin:0 auto;padding:32px 28px;border-radius:14px;background:#ffffff;"
    "color:#2b2822;font-size:16px;line-height:1.65;word-break:keep-all;"
)
_FOOT = (
    "max-width:560px;margin:16px auto 0;padding:0 16px;color:#6b6459;font-size:12px;"
    "line-height:1.6;word-break:keep-all;"
)
_BUTTON = (
    "display:inline-block;padding:13px 26px;border-radius:8px;background:#2f5d50;"
    "color:#ffffff;text-decoration:none;font-weight:600;"
)
_ALL_OPTIONAL = re.compile(r"(\{% if [^%]* %\})(.*)(\{% endif %\})")


def files_of(
    message: str, shop: Shop, workspace: Language, *, is_advertising: bool
) -> Iterator[tuple[str, str]]:
    """Path and content of the message's template files.

    A Korean workspace has the English texts beside the Korean ones, for customers whose locale is
    English; the labels of Korean law stand on both, since the law goes by where a message arrives.
    """
    texts: Mapping[str, Any] = read_yaml(f"messages/{message}.yaml")
    languages: tuple[Language, ...] = ("ko", "en") if workspace == "ko" else ("en",)
    for language in languages:
        suffix = "" if language == workspace else f".{language}"
        writer = _Writer(shop, language, workspace, texts.get("link", ""), is_advertising)
        said: Mapping[str, Any] = texts[language]
        if "subject" in said:
            yield f"templates/{message}/email{suffix}.liquid", writer.mail(said)
        for channel in TEXTS:
            if channel in said:
                name = "sms" if channel == "alimtalk" and workspace == "en" else channel
                path = f"templates/{message}/{name}{suffix}.liquid"
                yield path, writer.text(message, channel, said[channel])


class _Writer:
    def __init__(
        self, shop: Shop, language: Language, workspace: Language, link: str, is_advertising: bool
    ) -> None:
        self._shop = shop
        self._language = language
        self._is_korean = workspace == "ko"
        self._link = link and shop.site + link
        self._is_advertising = is_advertising
        self._label = "(광고) " if is_advertising and self._is_korean else ""

    def _filled(self, text: str) -> str:
        shop = self._shop
        given = {"shop": shop.name(self._language), "phone": shop.phone, "link": self._link}
        for name, value in (*given.items(), ("refusal", shop.refusal), ("site", shop.site)):
            text = text.replace(f"{{{name}}}", value)
        return text

    def mail(self, said: Mapping[str, str]) -> str:
        head = {"subject": self._label + said["subject"], "preheader": said.get("preheader")}
        parts = "".join(
            f"{name}: {json.dumps(self._filled(text), ensure_ascii=False)}\n"
            for name, text in head.items()
            if text is not None
        )
        return self._filled(f"---\n{parts}---\n" + self._letter(said))

    def _letter(self, said: Mapping[str, str]) -> str:
        body = "\n".join(self._paragraphs(said["body"]))
        small = said.get("small")
        note = (
            f'\n    <p style="margin:18px 0 0;color:#6b6459;font-size:14px;">{small}</p>'
            if small is not None
            else ""
        )
        return f"""\
<div lang="{self._language}" style="{_PAGE}">
  <div style="{_SHEET}">
    <p style="margin:0 0 20px;color:#2f5d50;font-weight:700;">{{shop}}</p>
    <h1 style="margin:0 0 16px;font-size:22px;line-height:1.4;">{said["heading"]}</h1>
{body}
    <p style="margin:28px 0 8px;">
      <a href="{{link}}" style="{_BUTTON}">{said["button"]}</a>
    </p>{note}
  </div>
  <div style="{_FOOT}">
    <p style="margin:0 0 8px;">{self._why()}</p>
    <p style="margin:0;">{self._sender()}</p>
  </div>
</div>
"""

    def _paragraphs(self, text: str) -> Iterator[str]:
        if self._language == "en":
            hello = "Hello{% if profile.name %} {{ profile.name }}{% endif %},"
            yield _paragraph(hello)
        for paragraph in text.strip().split("\n\n"):
            optional = _ALL_OPTIONAL.fullmatch(paragraph)
            if optional is not None and paragraph.count("{% if ") == 1:
                yield f"    {optional[1]}{_paragraph(optional[2]).strip()}{optional[3]}"
            else:
                yield _paragraph(paragraph)

    def _why(self) -> str:
        """Why the mail comes, and how it stops coming."""
        if not self._is_advertising:
            if self._language == "ko":
                return "회원님의 이용과 관련해 꼭 필요한 안내입니다."
            return "This is about your account or order. It is sent whatever you have chosen."
        way = f"{{{{ unsubscribe_url | default: '{self._shop.site}/account/consent' }}}}"
        link = f'<a href="{way}" style="{_LINK_STYLE}">'
        korean = f"수신을 원하지 않으시면 {link}수신거부</a>를 눌러 주세요."
        english = f"If you do not want these mails, click {link}Unsubscribe</a>."
        if self._language == "ko":
            return f"광고성 정보 수신에 동의하신 분께 보내 드립니다. {korean}<br>\n      {english}"
        because = "You receive this because you agreed to advertising by e-mail."
        korean = f"<br>\n      {korean}" if self._is_korean else ""
        return f"{because} {english}{korean}"

    def _sender(self) -> str:
        shop = self._shop
        return f"{{shop}} · {shop.address(self._language)} · {shop.phone} · {shop.email}"

    def text(self, message: str, channel: str, said: str) -> str:
        said = said.strip()
        if channel == "alimtalk" and self._is_korean:
            return self._filled(approved_form(message, said, self._link, self._language))
        if channel == "push":
            return self._push(said)
        if channel == "sms" and self._is_advertising:
            return self._filled(self._advertising_text(said)) + "\n"
        return self._filled(said) + "\n"

    def _push(self, said: str) -> str:
        title = json.dumps(self._label + "{shop}", ensure_ascii=False)
        refusal = ""
        if self._label:
            korean = "수신거부: 앱 설정 > 알림"
            if self._language == "en":
                korean = f"To stop: app settings > notifications ({korean})"
            refusal = f" {korean}" if said.endswith((".", "?", "!")) else f". {korean}"
        link = json.dumps(self._link, ensure_ascii=False)
        return self._filled(f"---\ntitle: {title}\nlink: {link}\n---\n{said}{refusal}\n")

    def _advertising_text(self, said: str) -> str:
        if not self._is_korean:
            return f"{{shop}}: {said}\nReply STOP to opt out"
        refusal = "무료수신거부" if self._language == "ko" else "무료수신거부 (free opt-out)"
        return f"(광고)[{{shop}}] {{phone}}\n{said}\n{refusal} {{refusal}}"


def _paragraph(text: str) -> str:
    return f'    <p style="margin:0 0 14px;">{text}</p>'
