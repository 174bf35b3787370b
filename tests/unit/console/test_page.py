"""The pages: complete in themselves, and allowed to do nothing else."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from services.console import page
from services.console.api_page import render_api

PAGE = (Path(page.__file__).parent / "page.html").read_text(encoding="utf-8")


def test_the_policy_names_the_pages_own_script_and_style_and_nothing_else() -> None:
    policy = page.policy_of(PAGE)
    for kind in ("script", "style"):
        (content,) = re.findall(f"<{kind}>(.*?)</{kind}>", PAGE, re.DOTALL)
        digest = b64encode(sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_the_page_loads_nothing_from_elsewhere_and_has_no_inline_handlers() -> None:
    assert not re.findall(r'(?:src|href)="(?!data:|\?|/)', PAGE)
    assert "<script>" in PAGE
    assert not re.findall(r'\s(on[a-z]+|style)="', PAGE)
    assert "innerHTML" not in PAGE


def words(language: str) -> dict[str, str]:
    (block,) = re.findall(rf"\n  {language}: \{{(.*?)\n  \}}", PAGE, re.DOTALL)
    found: dict[str, str] = json.loads("{" + re.sub(r"(\w+): \"", r'"\1": "', block) + "}")
    return found


def test_the_page_says_everything_in_both_languages() -> None:
    english, korean = words("en"), words("ko")
    assert english.keys() == korean.keys()
    used = set(re.findall(r'data-t="(\w+)"', PAGE)) | set(re.findall(r"\bT\.(\w+)", PAGE))
    assert used <= english.keys()
    assert all(korean.values())


def test_every_text_of_the_document_is_escaped_on_the_api_page() -> None:
    document = {
        "info": {"title": "<T>", "description": "a `<b>` c"},
        "paths": {
            "/x/{<y>}": {
                "get": {
                    "tags": ["<tag>"],
                    "description": "<d>",
                    "parameters": [
                        {
                            "name": "<p>",
                            "in": "query",
                            "description": "<q>",
                            "schema": {"type": "string", "default": "<v>"},
                        }
                    ],
                    "responses": {"200": {"description": "<ok>"}},
                }
            }
        },
    }
    text = render_api(document)
    for name in ("T", "b", "y", "tag", "d", "p", "q", "v", "ok"):
        assert f"&lt;{name}&gt;" in text
        assert f"<{name}>" not in re.sub("<b>|</?p>", "", text)
    assert "<code>&lt;b&gt;</code>" in text
