"""AlimTalk templates held to what Kakao has approved."""

import pytest

from services.journey.language.workspace import load_workspace
from shared.kakao_templates import Approved, Button, Registry, Status, read, written

CONTENT = "#{이름}님, 주문이 접수되었습니다.\n\n주문번호: #{주문번호}"
GOOD = """---
template_code: T1
"#{이름}": "{{ profile.name }}"
"#{주문번호}": "{{ trigger.id }}"
---
#{이름}님, 주문이 접수되었습니다.

주문번호: #{주문번호}
"""
WRITTEN_OUT = """---
template_code: T1
---

{{ profile.name }}님, 주문이 접수되었습니다.

주문번호: {{ trigger.id }}
"""


def problems(
    text: str,
    status: Status = "approved",
    content: str = CONTENT,
    buttons: tuple[Button, ...] = (),
) -> list[tuple[str, int, str]]:
    registry = Registry("solapi", "", (Approved("T1", "주문", status, content, buttons),))
    loaded = load_workspace(
        {
            "dangol.yaml": b"channels: {alimtalk: {adapter: log}}\n",
            "templates/order/alimtalk.liquid": text.encode(),
            "templates/kakao.json": written(registry),
        }
    )
    return [(p.message, p.line, p.hint) for p in loaded.problems]


@pytest.mark.parametrize("text", [GOOD, WRITTEN_OUT, GOOD.replace("\n", "\r\n")])
def test_the_approved_wording_is_taken(text: str) -> None:
    assert problems(text) == []
    assert problems(text, content=CONTENT.replace("\n", "\r\n") + "  \n") == []


@pytest.mark.parametrize("status", ["waiting", "rejected", "stopped"])
def test_alimtalk_template_that_is_not_approved_is_refused(status: Status) -> None:
    ((message, line, hint),) = problems(GOOD, status)
    assert "the template `T1` cannot be sent" in message
    assert (line, "kakao-templates" in hint) == (2, True)


def test_an_unknown_code_is_refused() -> None:
    ((message, line, hint),) = problems(GOOD.replace("T1", "T2"))
    assert "Kakao knows no template `T2`" in message
    assert (line, hint) == (2, "there is `T1`")


def test_alimtalk_rendered_other_than_the_template_is_refused_where_it_differs() -> None:
    ((message, line, hint),) = problems(GOOD.replace("접수되었습니다", "접수됐어요"))
    assert (message, line) == ("this is not the approved wording", 6)
    assert hint == "approved is: #{이름}님, 주문이 접수되었습니다."
    ((_, line, hint),) = problems(GOOD + "또 만나요\n")
    assert (line, hint) == (9, "it ends before this line")
    ((_, line, _),) = problems(WRITTEN_OUT.replace("주문번호:", "주문 번호:"))
    assert line == 7


def test_what_depends_on_the_customer_is_left_to_sending() -> None:
    text = WRITTEN_OUT.replace("주문이", "{% if trigger.gift %}선물이{% else %}주문이{% endif %}")
    assert problems(text) == []


def test_a_variable_of_a_button_needs_its_value_too() -> None:
    button = Button("주문 보기", "WL", ("https://shop.example/o/#{주문키}",))
    ((message, _, hint),) = problems(GOOD, buttons=(button,))
    assert message == "`#{주문키}` of a button has no value"
    assert '"#{주문키}": "{{ … }}"' in hint
    given = GOOD.replace("---\n#", '"#{주문키}": "{{ trigger.id }}"\n---\n#')
    assert problems(given, buttons=(button,)) == []


def test_a_text_without_variables_cannot_carry_buttons() -> None:
    ((message, _, _),) = problems(WRITTEN_OUT, buttons=(Button("주문 보기", "WL"),))
    assert "cannot carry the button `주문 보기`" in message


def test_a_value_for_no_variable_is_refused_in_its_place() -> None:
    text = GOOD.replace(
        '"#{주문번호}": "{{ trigger.id }}"\n', '"#{주문번호}": "1"\n"#{이릅}": "2"\n'
    )
    ((message, line, hint),) = problems(text)
    assert (message, line) == ("the template has no variable `#{이릅}`", 5)
    assert hint == "did you mean `#{이름}`?"


def test_a_code_that_liquid_writes_and_a_workspace_without_the_file_are_let_be() -> None:
    assert problems(GOOD.replace("T1", '"{{ trigger.code }}"')) == []
    files = {
        "dangol.yaml": b"channels: {alimtalk: {adapter: log}}\n",
        "templates/order/alimtalk.liquid": GOOD.replace("T1", "T9").encode(),
    }
    assert not load_workspace(files).problems


def test_a_file_that_cannot_be_read_is_a_problem() -> None:
    loaded = load_workspace({"dangol.yaml": b"{}", "templates/kakao.json": b'{"adapter": 1}'})
    ((problem),) = loaded.problems
    assert problem.file == "templates/kakao.json"
    assert "cannot be read" in problem.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("김예시님, 주문이 접수되었습니다.\n\n주문번호: A-1", True),
        ("김예시님, 주문이 접수되었습니다. \r\n\r\n주문번호: A-1\n", True),
        ("김예시님, 주문이 접수됐어요.\n\n주문번호: A-1", False),
        ("님, 주문이 접수되었습니다.\n\n주문번호: A-1", False),
        ("김예시님, 주문이 접수되었습니다.\n\n주문번호: A-1\n쿠폰 받기", True),
    ],
)
def test_whether_a_text_is_the_approved_one_with_values(text: str, says: bool) -> None:
    # A value may run over lines: where it stands last, nothing bounds it.
    assert Approved("T1", "", "approved", CONTENT).says(text) is says


def test_the_registry_survives_being_written() -> None:
    template = Approved("T1", "주문", "stopped", CONTENT, (Button("보기", "WL", ("https://x",)),))
    registry = Registry("nhn", "2026-03-02", (template,))
    assert read({"templates/kakao.json": written(registry)}) == registry
    assert template.variables == ("#{이름}", "#{주문번호}")
