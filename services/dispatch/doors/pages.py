"""The preference page: one form, no script, no login, nothing from elsewhere."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape

from services.dispatch.doors.wording import WORDS, Language, Words

_STYLE = """
:root { color-scheme: light dark; --ground: #f6f5f1; --card: #fff; --ink: #1d2421; --soft: #5b6560;
  --line: #d9d7ce; --accent: #0b6e4f; --on: #fff; }
@media (prefers-color-scheme: dark) { :root { --ground: #141816; --card: #1d2320; --ink: #e9ede9;
  --soft: #a3ada7; --line: #3a443f; --accent: #6fd3ae; --on: #0c1f18; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); word-break: keep-all;
  font: 17px/1.6 system-ui, "Apple SD Gothic Neo", "Noto Sans KR", "Malgun Gothic", sans-serif; }
main { max-width: 34rem; margin: 0 auto; padding: 1.5rem 1.1rem 3rem; }
h1 { font-size: 1.4rem; margin: 0 0 .6rem; } h2 { font-size: 1.05rem; margin: 0 0 .6rem; }
p { margin: 0 0 1rem; } .soft { color: var(--soft); font-size: .92rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .9rem;
  padding: 1.1rem 1.2rem; margin: 0 0 1.1rem; }
label { display: flex; gap: .75rem; align-items: flex-start; padding: .55rem 0;
  border-top: 1px solid var(--line); }
label:first-of-type { border-top: 0; }
input { width: 1.25rem; height: 1.25rem; margin: .2rem 0 0; accent-color: var(--accent); }
button { font: inherit; font-weight: 600; width: 100%; padding: .75rem 1rem; border-radius: .6rem;
  border: 1px solid var(--accent); background: var(--accent); color: var(--on); cursor: pointer; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.done { border-color: var(--accent); } .done p { margin: 0; }
a { color: var(--accent); } small { color: var(--soft); display: block; }
"""
_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self';"
        " base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
}


def preference_page(
    language: Language,
    channels: Sequence[str],
    consents: Mapping[str, bool],
    done: str = "",
) -> str:
    """`done` says what has just been carried out. Both ways stand side by side, alike in weight."""
    words = WORDS[language]
    notice = f'<section class="done" role="status"><p>{escape(done)}</p></section>' if done else ""
    boxes = "".join(_box(words, name, consents.get(name)) for name in channels)
    return _page(
        language,
        words.title,
        f"<h1>{escape(words.title)}</h1><p>{escape(words.lead)}</p>{notice}"
        f'<section><form method="post"><p class="soft">{escape(words.all_off_help)}</p>'
        f'<button name="action" value="none">{escape(words.all_off)}</button></form></section>'
        f'<section><form method="post"><h2>{escape(words.choose)}</h2>{boxes}'
        f'<p></p><button name="action" value="save">{escape(words.save)}</button></form></section>'
        f'<p class="soft"><a href="?lang=ko" hreflang="ko" lang="ko">한국어</a> ·'
        ' <a href="?lang=en" hreflang="en" lang="en">English</a></p>',
    )


def _box(words: Words, name: str, granted: bool | None) -> str:
    checked = " checked" if granted else ""
    below = f"<small>{escape(words.never_asked)}</small>" if granted is None else ""
    return (
        f'<label><input type="checkbox" name="channel" value="{escape(name)}"{checked}>'
        f"<span>{escape(words.channel(name))}{below}"
        f"<small>{escape(words.agree)}</small></span></label>"
    )


def notice_page(language: Language, title: str, text: str) -> str:
    return _page(language, title, f"<h1>{escape(title)}</h1><p>{escape(text)}</p>")


def _page(language: Language, title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>"
    )
