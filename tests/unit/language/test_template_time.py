"""No template takes the dispatcher's time: each of these would take from seconds to minutes."""

from itertools import count
from time import thread_time

import pytest

from shared.templates import TemplateFailed, effort, parse_template, render
from shared.templates.effort import Effort, RenderTimeLimitError
from tests.patience import in_time

_LARGE = "x" * 900_000
_IF = "{% if profile.text contains 'zz' %}{% endif %}"
_HOSTILE = {
    "contains in a loop": "{% for i in (1..20000) %}" + _IF + "{% endfor %}",
    "contains in a table": "{% tablerow i in (1..20000) %}" + _IF + "{% endtablerow %}",
    "contains on end": _IF * 6_000,
    "a condition without names": "{% for i in (1..20000) %}{% if '"
    + "x" * 250_000
    + "' contains 'zz' %}{% endif %}{% endfor %}",
    "nested loops": "{% for i in (1..140) %}{% for j in (1..140) %}"
    + "{% if profile.name == 'x' %}{% endif %}" * 2_000
    + "{% endfor %}{% endfor %}",
    "filters on end": "{% for i in (1..10000) %}{% assign a = i "
    + "| plus: 1 " * 2_000
    + "%}{% endfor %}",
    "texts that are kept": "{% capture a %}{{ profile.korean }}{% endcapture %}" * 5_000,
}


def _seconds_to_fail(source: str, subject: str = "s") -> float:
    template = parse_template("templates/t/email.liquid", f"---\nsubject: {subject}\n---\n{source}")
    names = {"profile": {"text": _LARGE, "korean": "가" * 300_000, "name": "y"}}
    began = thread_time()
    with pytest.raises(TemplateFailed, match=r"more than 0\.1 s: make its loops"):
        render(template, names)
    return thread_time() - began


@pytest.mark.parametrize("source", _HOSTILE.values(), ids=_HOSTILE)
def test_rendering_ends_in_about_its_time(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "MOST_SECONDS", 0.1)
    assert in_time(_seconds_to_fail(source), 1.5)  # the longest piece of work counts, too


def test_the_texts_of_one_message_share_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = count()
    monkeypatch.setattr(Effort.__init__, "__defaults__", (lambda: next(looks) / 10,))
    half = "{% for i in (1..72) %}" + _IF + "{% endfor %}"
    names = {"profile": {"text": "y"}}
    alone = parse_template("templates/t/email.liquid", f"---\nsubject: s\n---\n{half}")
    render(alone, names)
    both = parse_template("templates/t/email.liquid", f'---\nsubject: "{half}"\n---\n{half}')
    with pytest.raises(TemplateFailed, match="more than 1 s"):
        render(both, names)


def _count(written: Effort, pieces: int) -> None:
    for _ in range(pieces):
        written.count()


def test_time_counts_from_the_first_look_at_the_clock() -> None:
    now = [50.0]
    written = Effort(lambda: now[0])
    _count(written, 1_000)
    now[0] += effort.MOST_SECONDS
    _count(written, 1_000)
    now[0] += 0.001
    with pytest.raises(RenderTimeLimitError):
        _count(written, 16)
