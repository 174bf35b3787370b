"""What is done fast comes to what the slow way does: Liquid's plain names, a mail's text part."""

import re
from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from liquid import BoundTemplate, RenderContext
from liquid.builtin.output import Output
from liquid.exceptions import LiquidError
from liquid.utils import ReadOnlyChainMap

from shared.templates import plain_text
from shared.templates.sandbox import HTML, MOST_OUTPUT, TEXT, Sandbox, _Context


class _StockContext(_Context):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scope = ReadOnlyChainMap(self.locals, self.globals, self.counters)

    get_buffer = RenderContext.get_buffer


class _StockTemplate(BoundTemplate):
    context_class = _StockContext


class _Stock(Sandbox):
    template_class: type[BoundTemplate] = _StockTemplate  # type: ignore[assignment]

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        self.add_tag(Output)


_STOCK = {False: _Stock(), True: _Stock(autoescape=True)}
_WRITTEN = """
a a.b a.b.c a['b'] a.size a.first a.last a[0] a.size.x c.size c.first c.b c[0] c[a.i]
d d.b e e.year nothing nothing.at.all a[nothing] list list.first list.size now f
"""
_PATHS = st.sampled_from(_WRITTEN.split())
_FILTERS = st.sampled_from(
    ["", "", " | upcase", " | default: 'x'", " | default: a.b", " | append: '<&'", " | size"]
)
_OUTPUTS = st.builds("{{{{ {}{} }}}}".format, _PATHS, _FILTERS)
_TEXTS = st.text("ab <>&\n가\"'{", max_size=6).filter(lambda text: "{{" not in text + "{")
_PIECES = st.one_of(_TEXTS.map(lambda text: text.replace("{", "")), _OUTPUTS)
_BLOCKS = st.one_of(
    st.builds("{{% if {} %}}{}{{% else %}}{}{{% endif %}}".format, _PATHS, _PIECES, _PIECES),
    st.builds("{{% for a in {} %}}{}{}{{% endfor %}}".format, _PATHS, _PIECES, _PIECES),
    st.builds("{{% assign a = {} %}}".format, _PATHS),
    st.builds("{{% capture d %}}{}{{% endcapture %}}".format, _PIECES),
    st.builds("{{% increment f %}}{}".format, _PIECES),
)
_SOURCES = st.lists(st.one_of(_PIECES, _PIECES, _BLOCKS), max_size=6).map("".join)
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2), st.text("a<&가'", max_size=4)
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["b", "c", "i", "size", "first", "0"]), inner, max_size=3),
    ),
    max_leaves=6,
)
_NAMES = st.dictionaries(st.sampled_from(["a", "c", "d", "e", "list", "f"]), _VALUES)


def _said(environment: Sandbox, source: str, names: dict[str, Any]) -> str | type[Exception]:
    try:
        return environment.from_string(source).render(names)
    except (LiquidError, ArithmeticError, ValueError, TypeError, KeyError) as error:
        return type(error)


@given(_SOURCES, _NAMES)
def test_what_is_joined_is_what_the_library_renders(source: str, names: dict[str, Any]) -> None:
    for environment in (TEXT, HTML):
        stock = _STOCK[environment.autoescape]
        assert _said(environment, source, names) == _said(stock, source, names)


def test_what_is_joined_is_bounded_like_everything_else() -> None:
    for text in ("x" * 1000, "가" * 350):
        fits, too_much = MOST_OUTPUT // len(text.encode()), MOST_OUTPUT // len(text.encode()) + 1
        names = {"a": text}
        assert isinstance(_said(TEXT, "{{ a }}" * fits, names), str)
        for source in ("{{ a }}" * too_much, "{{ a | append: '' }}" * too_much):
            assert _said(TEXT, source, names) == _said(_STOCK[False], source, names)
            assert not isinstance(_said(TEXT, source, names), str)


class _Parsed(HTMLParser):
    """The same text by the standard library's parser."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.hidden = 0
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in plain_text._HIDDEN:
            self.hidden += 1
        elif tag == "br":
            self.pieces.append("\n")
        elif tag in plain_text._BLOCKS:
            self.pieces.append("\n\n" if tag in ("p", "h1", "h2", "h3") else "\n")
            self.pieces.append("- " if tag == "li" else "")
        elif tag in ("td", "th"):
            self.pieces.append(" ")
        elif tag == "a":
            self.links.append(dict(attrs).get("href") or "")
        elif tag == "img":
            self.pieces.append(dict(attrs).get("alt") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in plain_text._HIDDEN:
            self.hidden = max(0, self.hidden - 1)
        elif tag in plain_text._BLOCKS:
            self.pieces.append("\n")
        elif tag == "a" and self.links:
            target = self.links.pop()
            if target.startswith(("http:", "https:", "mailto:", "tel:")):
                self.pieces.append(f" ({target})")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.pieces.append(re.sub(r"\s+", " ", data))


_TAGS = """
<p> </p> <br> <br/> <li> </li> <div/> <td> </td> <tr> <h1> </h1> </a> <o:p> </o:p> &amp; &nbsp; 1<2
&lt;b&gt; 단골 <template> </template> <hr>
"""
# What mail is made of; how a parser repairs what is broken differs from version to version.
_MAIL = st.lists(
    st.one_of(
        st.sampled_from(_TAGS.split()),
        st.sampled_from(
            [
                "<P class='a>b'>",
                "<a href='https://x.y/?a=1&amp;b=2'>",
                '<a\nhref = "/l">',
                "<a data-href='https://no' href='https://yes'>",
                "<A HREF=tel:1>",
                '<img alt="a > b" src=x>',
                "<img alt=k>",
                "<style>p > a {}</style>",
                "<script>if(a<b && '</p>') x()</script>",
                "<!-- c > <p> -->",
                "<!--[if mso]><table><td><![endif]-->",
                "<!doctype html>",
                "<head><title>t</title></head>",
                '<span title="</p>">',
                "text  \n ",
                "a < b",
            ]
        ),
    )
).map("".join)


@given(_MAIL)
def test_the_text_of_a_mail_is_what_a_parser_of_html_reads(html: str) -> None:
    reader = _Parsed()
    reader.feed(html)
    reader.close()
    text = re.sub(r"[ \t]*\n[ \t]*", "\n", "".join(reader.pieces))
    assert plain_text.plain_text(html) == re.sub(r"\n{3,}", "\n\n", text).strip()
