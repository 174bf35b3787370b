"""What a test expects beside what came of it; what it does not mention is not looked at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.console.testing.times import Local
from services.console.testing.trace import End, Message, Trace
from services.journey.core.decide import due_of
from services.journey.language.model.journey import Ended, Expected, ExpectedMessage
from services.journey.language.tree import Scalar
from shared.workspace import duration_text

NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Difference:
    line: int
    what: str
    """The clause of `expect`, such as `sent 2 channel`."""
    expected: str
    got: str


def compare(expect: Expected, trace: Trace) -> list[Difference]:
    return [*_entered(expect, trace), *_messages(expect, trace), *_ended(expect.ended, trace)]


def _entered(expect: Expected, trace: Trace) -> Iterator[Difference]:
    if expect.entered is not None and expect.entered != trace.entered:
        line = expect.node.key_spot("entered").line
        words = {True: "true", False: "false"}
        yield Difference(line, "entered", words[expect.entered], words[trace.entered])


# Messages ------------------------------------------------------------------------------------


def _messages(expect: Expected, trace: Trace) -> Iterator[Difference]:
    if expect.sent is not None:
        sent = [message for message in trace.messages if message.decision == "sent"]
        unsent = [f"{m.step} {m.decision}: {m.reason}" for m in trace.messages if m not in sent]
        instead = f"{NOTHING} ({', '.join(unsent)})" if unsent else NOTHING
        yield from _list("sent", expect, expect.sent, sent, trace.local, instead)
    if expect.decided is not None:
        yield from _list("decided", expect, expect.decided, trace.messages, trace.local)


def _list(
    clause: str,
    expect: Expected,
    wanted: Sequence[ExpectedMessage],
    got: Sequence[Message],
    local: Local,
    instead: str = NOTHING,
) -> Iterator[Difference]:
    clause_line = expect.node.key_spot(clause).line
    before = [local.start, *(message.at for message in got)]
    fields = [
        [list(_fields(want, message, before[j], local)) for j, message in enumerate(got)]
        for want in wanted
    ]
    pairs = _pairs([[len(row) for row in rows] for rows in fields], len(got))
    for number, (i, j) in enumerate(pairs, 1):
        what = f"{clause} {number}"
        if i is None:
            assert j is not None
            yield Difference(clause_line, what, NOTHING, _shown(got[j], local))
        elif j is None:
            line = wanted[i].node.spot.line
            yield Difference(line, what, _asked(wanted[i], local), instead)
        else:
            for key, expected, found in fields[i][j]:
                line = wanted[i].node.key_spot(key).line
                yield Difference(line, f"{what} {key}", expected, found)


def _fields(
    want: ExpectedMessage, message: Message, before: datetime, local: Local
) -> Iterator[tuple[str, str, str]]:
    """The fields that differ: name, expected, got."""
    words: dict[str, tuple[str | None, str]] = {
        "step": (_word(want.step), message.step),
        "channel": (_word(want.channel), message.channel),
        "template": (_word(want.template), message.template),
        "decision": (want.decision, message.decision),
        "reason": (want.reason, message.reason or "none"),
    }
    for key, (expected, got) in words.items():
        if expected is not None and expected != got:
            yield key, str(expected), str(got)
    if want.at is not None and want.at != message.at:
        yield "at", local.time(want.at), local.time(message.at)
    if want.after is not None and want.after != message.at - before:
        yield "after", duration_text(want.after), duration_text(message.at - before)


def _word(word: Scalar | None) -> str | None:
    return None if word is None else word.text


def _pairs(costs: list[list[int]], many: int) -> Iterator[tuple[int | None, int | None]]:
    """Which expected message is which that came, in order, so that the differences are fewest.

    `costs` counts the fields that differ. One message too many or too few costs as much as one
    field, and a pair at most as much as both of its sides.
    """
    few = len(costs)
    best = {(few, j): many - j for j in range(many + 1)} | {(i, many): few - i for i in range(few)}
    for i in range(few - 1, -1, -1):
        for j in range(many - 1, -1, -1):
            paired = best[i + 1, j + 1] + min(costs[i][j], 2)
            best[i, j] = min(paired, best[i + 1, j] + 1, best[i, j + 1] + 1)
    i = j = 0
    while i < few or j < many:
        both = i < few and j < many
        if both and best[i, j] == best[i + 1, j + 1] + min(costs[i][j], 2):
            yield i, j
            i, j = i + 1, j + 1
        elif j == many or (both and best[i, j] == best[i + 1, j] + 1):
            yield i, None
            i += 1
        else:
            yield None, j
            j += 1


def _shown(message: Message, local: Local) -> str:
    outcome = "" if message.decision == "sent" else f" {message.decision}"
    why = "" if message.reason is None else f": {message.reason}"
    said = f"{message.channel} {message.template} ({message.step}){outcome}{why}"
    return f"{said} at {local.time(message.at)}"


def _asked(want: ExpectedMessage, local: Local) -> str:
    words = [word.text for word in (want.channel, want.template) if word is not None]
    words += [f"({want.step.text})"] if want.step is not None else []
    words += [want.decision] if want.decision is not None else []
    words += [str(want.reason)] if want.reason is not None else []
    words += [f"at {local.time(want.at)}"] if want.at is not None else []
    words += [f"after {duration_text(want.after)}"] if want.after is not None else []
    return " ".join(words) or "a message"


# The end -------------------------------------------------------------------------------------


def _ended(want: Ended | None, trace: Trace) -> Iterator[Difference]:
    if want is None:
        return
    end = _end(want, trace)
    if end is None:
        asked = want.reason.text if want.reason is not None else "an end"
        yield Difference(want.node.spot.line, "ended", asked, _not_ended(trace))
        return
    words = {"reason": (want.reason, end.reason), "step": (want.step, end.step)}
    for key, (expected, got) in words.items():
        if expected is not None and expected.text != got:
            yield Difference(want.node.key_spot(key).line, f"ended {key}", expected.text, got)
    if want.at is not None and want.at != end.at:
        times = trace.local.time(want.at), trace.local.time(end.at)
        yield Difference(want.node.key_spot("at").line, "ended at", *times)


def _end(want: Ended, trace: Trace) -> End | None:
    """The last end. A restart is one only for a test that asks for it: the journey goes on."""
    restart = want.reason is not None and want.reason.text == "restart"
    ends = [end for end in trace.ends if (end.reason == "restart") == restart]
    return ends[-1] if ends else None


def _not_ended(trace: Trace) -> str:
    if not trace.waiting:
        return "never entered" if not trace.entered else "no end"
    run = trace.waiting[-1]
    due = due_of(run)
    until = "" if due is None else f" until {trace.local.time(due)}"
    return f"still at {run.step}{until}"
