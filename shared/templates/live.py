"""The live source that a template asks before each sending: whether its claim still holds.

    call:
      url: https://shop.example/dangol/stock
      with: {product_id: "{{ trigger.product_id }}"}
      timeout: 2s          # for one try
      cache: 10s           # an answer counts so long for everybody of whom the same is asked
      on_error: drop       # or send: what becomes of the message where nothing can be learnt

The source answers `{"still_true": true}` or `false`; what else it says is `live` in the template.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Any, Literal

import msgspec
from liquid.exceptions import LiquidError

from shared.decisions import Reason
from shared.templates.effort import Effort
from shared.templates.front_matter import Part
from shared.templates.problems import TemplateFailed, TemplateProblem
from shared.templates.sandbox import SandboxTemplate
from shared.urls import checked_url
from shared.workspace import duration_text, parse_duration

LINE = "ask:"
"""How the lines of messages that wait for an answer begin (`messages.waits_for`)."""
LONGEST_QUESTION = 4_000
TIMEOUT, CACHE = timedelta(seconds=2), timedelta(seconds=10)
_SHORTEST = timedelta(seconds=1)
_LONGEST = {"timeout": timedelta(seconds=5), "cache": timedelta(seconds=60)}
_FIELDS = ("url", "with", "timeout", "cache", "on_error")

OnError = Literal["drop", "send"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. The same question has the same answer, whoever the message is for."""

    url: str
    values: Mapping[str, str]

    @property
    def line(self) -> str:
        """In which messages wait for its answer."""
        written = msgspec.json.encode([self.url, sorted(self.values.items())])
        return LINE + blake2b(written, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class LiveCall:
    url: str
    values: Mapping[str, SandboxTemplate]
    timeout: timedelta = TIMEOUT
    cache: timedelta = CACHE
    on_error: OnError = "drop"

    def question(self, names: Mapping[str, Any]) -> Question:
        """Raises TemplateFailed."""
        effort = Effort()
        try:
            values = {
                name: each.render_within(effort, names).strip()
                for name, each in self.values.items()
            }
        except (LiquidError, ArithmeticError, ValueError, TypeError, RecursionError, KeyError) as e:
            raise TemplateFailed(f"the question to the live source: {type(e).__name__}") from e
        if sum(map(len, values.values())) > LONGEST_QUESTION:
            raise TemplateFailed("the question to the live source is too long")
        return Question(self.url, values)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the source said. `still_true` None: nothing could be learnt, `why` says why."""

    still_true: bool | None
    live: Mapping[str, Any]
    """`live` of the template."""
    why: str = ""

    def refusal(self, call: LiveCall) -> Reason | None:
        """Why the message is dropped; None: it may be sent."""
        if self.still_true is None:
            return Reason.NOT_VERIFIED if call.on_error == "drop" else None
        return None if self.still_true else Reason.NO_LONGER_TRUE


def answer_of(response: Any) -> Answer:
    """Of the JSON in a 2xx answer."""
    said = response.get("still_true") if isinstance(response, dict) else None
    if not isinstance(said, bool):
        return Answer(None, {}, 'the answer has no `"still_true"`, true or false')
    return Answer(said, response)


UNASKED = Answer(True, {})
"""Where nothing leaves the house and a test says nothing."""


def read_call(
    written: Mapping[str, Part],
    parse: Callable[[Part], SandboxTemplate | None],
    problems: list[TemplateProblem],
) -> LiveCall | None:
    """The call of a front matter; what is wrong with it is added to `problems`."""
    return _Reading(written, problems).call(parse)


@dataclass(frozen=True, slots=True)
class _Reading:
    written: Mapping[str, Part]
    problems: list[TemplateProblem]

    def call(self, parse: Callable[[Part], SandboxTemplate | None]) -> LiveCall | None:
        for name, part in self.written.items():
            if name == "with" or not (name in _FIELDS or name.startswith("with.")):
                fields = ", ".join(_FIELDS)
                self._refuse(part, f"`call` has no `{name[:40]}`", f"there are {fields}")
        values = {
            name.removeprefix("with."): parse(part)
            for name, part in self.written.items()
            if name.startswith("with.")
        }
        url = self._url()
        return LiveCall(
            url,
            {name: value for name, value in values.items() if value is not None},
            self._span("timeout", TIMEOUT),
            self._span("cache", CACHE),
            self._on_error(),
        )

    def _refuse(self, part: Part, message: str, hint: str = "") -> None:
        self.problems.append(TemplateProblem(part.line, part.column, message, hint))

    def _span(self, name: str, otherwise: timedelta) -> timedelta:
        part = self.written.get(name)
        if part is None:
            return otherwise
        try:
            found = parse_duration(part.text)
        except ValueError as error:
            self._refuse(part, str(error))
            return otherwise
        if not _SHORTEST <= found <= _LONGEST[name]:
            bounds = f"{duration_text(_SHORTEST)} and {duration_text(_LONGEST[name])}"
            self._refuse(part, f"the `{name}` of a template's call is between {bounds}")
        return found

    def _on_error(self) -> OnError:
        part = self.written.get("on_error")
        if part is not None and part.text not in ("drop", "send"):
            self._refuse(part, f"`{part.text[:20]}` is no `on_error`", "write drop or send")
        return "send" if part is not None and part.text == "send" else "drop"

    def _url(self) -> str:
        part = self.written.get("url")
        if part is None:
            self._refuse(next(iter(self.written.values())), "the `url` of the call is missing")
            return ""
        if "{{" in part.text or "{%" in part.text:
            self._refuse(
                part, "the address of a live source is written out", "what changes goes into `with`"
            )
            return ""
        try:
            return checked_url(part.text)
        except ValueError as error:
            self._refuse(part, str(error))
            return ""
