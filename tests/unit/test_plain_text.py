"""The text part of a mail, of markup that was broken to take long."""

import re
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.templates import plain_text as module
from shared.templates.plain_text import plain_text

LONG = 400_000
_ENDLESS = "|(?P<endless>/?[A-Za-z])"
_WHOLE = re.compile(module._MARKUP.pattern.replace(_ENDLESS, ""), re.DOTALL)


@pytest.mark.parametrize(
    "piece",
    ['<a "', "<a '", "<aaaa", '<a "<b \'', "<td>", "<td>\t", "<p>", "<!", "<!-", "</", "<script ",
     "&#", "&#9", "<a href=", "href ", '"', '<a x="', "<a href=' <b href=\""],
)  # fmt: skip
def test_the_time_grows_with_the_length(piece: str) -> None:
    """A try from each `<` to the end would be 40,000,000,000 steps, and take minutes."""
    began = process_time()
    plain_text(piece * (LONG // len(piece)))
    plain_text(piece * (LONG // len(piece)) + "\"' >")
    assert process_time() - began < 30


def test_one_look_at_the_whole_tells_of_every_beginning() -> None:
    """Steps, not time: the ends are made once, and no beginning is looked at twice."""
    looked: list[int] = []

    class Counting(module._Ends):
        def at(self, place: int) -> bool:
            looked.append(place)
            return super().at(place)

    markups = module._Markups('<a "<b>' + "<c '" * 1000)
    markups._ends = Counting(markups._html)
    at, found = 0, []
    while (markup := markups.after(at)) is not None:
        found.append(markup[0])
        at = markup.end()
    assert found == ["<b>"]
    assert looked == sorted(set(looked))
    assert len(looked) == 1002


@given(st.text(alphabet="<a b/>\"'!-?=\n", max_size=40))
def test_what_is_a_tag_is_what_a_try_from_each_place_finds(html: str) -> None:
    def tried() -> list[str]:
        return [found[0] for found in _WHOLE.finditer(html)]

    markups, found, at = module._Markups(html), [], 0
    while (markup := markups.after(at)) is not None:
        found.append(markup[0])
        at = markup.end()
    assert found == tried()


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('a <b "unclosed> c', 'a <b "unclosed> c'),
        ("a <b 'x <i>c</i>", "a <b 'x c"),
        ("1 < 2 <em>3</em>", "1 < 2 3"),
        ("<p>a</p>\t \n <td> b", "a\nb"),
        ("&#" + "9" * 5000 + ";x", "\ufffdx"),
        ("&#x" + "f" * 5000 + " x", "\ufffd x"),
        ("&#44032;&#xAC00;", "가가"),
    ],
)
def test_what_cannot_be_read_stays_as_it_is(html: str, text: str) -> None:
    assert plain_text(html) == text
