"""A template as a customer would get it."""

from datetime import UTC, datetime

import pytest

from services.console.preview import preview
from services.journey.language.workspace import Workspace, load_workspace
from shared.errors import BadInput

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SETTINGS = """locale: ko
country: KR
timezone: Asia/Seoul
channels:
  email: {adapter: log}
  sms: {adapter: log}
"""
KOREAN = """---
subject: "{{ profile.name | josa: '이/가' }} 담은 상품"
---
<p>{{ trigger.price | currency }} {{ gift }}</p>
"""
FILES = {
    "dangol.yaml": SETTINGS,
    "templates/cart/email.liquid": KOREAN,
    "templates/cart/email.en.liquid": "---\nsubject: Your cart\n---\n<p>{{ trigger.price }}</p>\n",
    "templates/cart/sms.liquid": "{{ profile.name }}님, 담은 상품이 있어요\n",
    "templates/bad/sms.liquid": "{{ profile.name | josa: '에/게' }}\n",
}


@pytest.fixture
def workspace() -> Workspace:
    loaded = load_workspace({path: text.encode() for path, text in FILES.items()})
    assert not loaded.problems
    return loaded


def test_it_is_rendered_as_for_sending(workspace: Workspace) -> None:
    sample = {"profile": {"name": "민수"}, "trigger": {"price": 38000}, "with": {"gift": "엽서"}}
    made = preview(workspace, "cart", "email", sample, NOW)
    assert made.rendered.parts["subject"] == "민수가 담은 상품"
    assert "<p>38,000원 엽서</p>" in made.rendered.body
    assert made.warnings == ()


def test_the_locale_chooses_the_file(workspace: Workspace) -> None:
    sample = {"profile": {"locale": "en-GB"}}
    assert preview(workspace, "cart", "email", sample, NOW).file.endswith("email.en.liquid")
    assert preview(workspace, "cart", "email", sample, NOW, "ko").file.endswith("email.liquid")


def test_what_is_empty_is_told_with_its_place(workspace: Workspace) -> None:
    warnings = preview(workspace, "cart", "email", {"with": {"gift": 1}}, NOW).warnings
    assert "templates/cart/email.liquid:2:14: `profile.name` is empty for this customer" in warnings
    assert any("`trigger.price` is empty" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("name", "size", "kind"), [("민수", 26, "SMS"), ("가" * 40, 102, "LMS"), ("A", 23, "SMS")]
)
def test_a_text_message_has_a_size(workspace: Workspace, name: str, size: int, kind: str) -> None:
    made = preview(workspace, "cart", "sms", {"profile": {"name": name}}, NOW)
    assert made.size is not None
    assert (made.size.bytes, made.size.kind) == (size, kind)


def test_what_a_carrier_cannot_carry_is_told(workspace: Workspace) -> None:
    made = preview(workspace, "cart", "sms", {"profile": {"name": "Zoë 🎉"}}, NOW)
    assert any("cannot carry ë 🎉" in warning for warning in made.warnings)


@pytest.mark.parametrize(
    ("name", "channel", "sample", "message", "hint"),
    [
        ("crat", "email", {}, "no template `crat`", "`cart`"),
        ("cart", "push", {}, "no file for push", "email, sms"),
        ("cart", "email", {"profil": {}}, "a key `profil`", "`profile`"),
        ("cart", "email", {"profile": 5}, "`profile` of the sample is no mapping", "profile:"),
        ("bad", "sms", {"profile": {"name": "x"}}, "fails", "template_error"),
    ],
)
def test_what_cannot_be_rendered_says_why(
    workspace: Workspace,
    name: str,
    channel: str,
    sample: dict[str, object],
    message: str,
    hint: str,
) -> None:
    with pytest.raises(BadInput) as caught:
        preview(workspace, name, channel, sample, NOW)
    assert message in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("front", "body", "kind", "warned"),
    [
        ("", "가" * 45, "SMS", None),
        ("title: 안내", "가" * 45, "SMS", "an SMS carries no title"),
        ("title: 안내", "가" * 46, "LMS", None),
        (f"title: {'가' * 21}", "가" * 46, "LMS", "the title has 42 bytes"),
        ("image: '307917'", "가", "MMS", None),
        ("", "가" * 1001, "too long", "more than the 2,000"),
    ],
)
def test_the_class_of_a_text_is_decided_and_shown(
    front: str, body: str, kind: str, warned: str | None
) -> None:
    text = f"---\n{front}\n---\n{body}\n" if front else f"{body}\n"
    files = {"dangol.yaml": SETTINGS, "templates/t/sms.liquid": text}
    loaded = load_workspace({path: content.encode() for path, content in files.items()})
    made = preview(loaded, "t", "sms", {}, NOW)
    assert made.kind == kind
    assert any(warned in warning for warning in made.warnings) if warned else not made.warnings
