"""What stands in the boxes, in English and Korean."""

from dataclasses import dataclass
from typing import Literal, assert_never

from services.console.words import Language
from services.journey.core.flow import (
    Branch,
    Call,
    Emit,
    EventMatch,
    Exit,
    Flow,
    Repeat,
    Send,
    Set,
    Split,
    Step,
    Wait,
    WaitFor,
    WaitUntil,
)
from shared.call import host_of
from shared.workspace import duration_text

__all__ = ["Language", "Names", "Shape", "describe", "trigger_lines"]

Shape = Literal["start", "wait", "send", "choice", "action", "end"]


@dataclass(frozen=True, slots=True)
class Names:
    """The words of one language."""

    on: str
    by_api: str
    end: str
    otherwise: str
    none_holds: str
    came: str
    timed_out: str
    again: str
    wait: str
    wait_until: str
    wait_for: str
    at_most: str
    send: str
    branch: str
    split: str
    set: str
    emit: str
    call: str
    repeat: str
    every: str
    until: str
    exit: str
    reached: str
    here: str
    weekdays: tuple[str, ...]

    @staticmethod
    def of(language: Language) -> "Names":
        return _KO if language == "ko" else _EN


_EN = Names(
    on="When",
    by_api="When the API names a customer",
    end="End",
    otherwise="otherwise",
    none_holds="none of these",
    came="it came",
    timed_out="it did not come",
    again="again",
    wait="Wait",
    wait_until="Wait until",
    wait_for="Wait for",
    at_most="at most",
    send="Send",
    branch="Which holds first?",
    split="Split by chance",
    set="Note",
    emit="Emit",
    call="Ask",
    repeat="Repeat, at most {} times",
    every="one round every {}",
    until="until {}",
    exit="Leave",
    reached="reached",
    here="here now",
    weekdays=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
)
_KO = Names(
    on="시작:",
    by_api="API로 고객을 지정할 때",
    end="끝",
    otherwise="그 외",
    none_holds="해당 없음",
    came="발생함",
    timed_out="발생하지 않음",
    again="다시",
    wait="대기",
    wait_until="대기 (시점)",
    wait_for="이벤트 대기",
    at_most="최대",
    send="발송",
    branch="먼저 맞는 조건은?",
    split="무작위 분할",
    set="기록",
    emit="이벤트 생성",
    call="외부 호출",
    repeat="반복, 최대 {}회",
    every="{}마다 한 번",
    until="멈추는 조건: {}",
    exit="나가기",
    reached="도달",
    here="현재",
    weekdays=("월", "화", "수", "목", "금", "토", "일"),
)


def trigger_lines(flow: Flow, names: Names) -> tuple[str, ...]:
    if flow.api:
        return (names.by_api,)
    return (names.on, *(line for match in flow.triggers for line in _match(match)))


def describe(  # noqa: C901 - one case for each kind of step
    step: Step, names: Names
) -> tuple[Shape, tuple[str, ...]]:
    """Its shape and its lines: what it does first, then on what."""
    match step:
        case Wait(duration=duration):
            return "wait", (f"{names.wait} {duration_text(duration)}",)
        case WaitUntil():
            return "wait", (names.wait_until, *_moment(step, names))
        case WaitFor(matches=matches, timeout=timeout):
            events = (line for match in matches for line in _match(match))
            limit = f"{names.at_most} {duration_text(timeout)}"
            return "wait", (names.wait_for, *events, limit)
        case Send(channels=channels, template=template):
            return "send", (f"{names.send} {' → '.join(channels)}", template)
        case Branch():
            return "choice", (names.branch,)
        case Split():
            return "choice", (names.split,)
        case Set(values=values):
            changes = (f"{name} = {value.source}" for name, value in values.items())
            return "action", (names.set, *changes)
        case Emit(event=event):
            return "action", (f"{names.emit} {event}",)
        case Call(url=url):
            return "action", (f"{names.call} {host_of(url)}",)
        case Repeat(times=times, every=every, until=until):
            parts = [names.repeat.format(times)]
            parts += [] if every is None else [names.every.format(duration_text(every))]
            parts += [] if until is None else [names.until.format(until.source)]
            return "choice", tuple(parts)
        case Exit(reason=reason):
            return "end", (f"{names.exit}: {reason}",)
        case _:
            assert_never(step)


def _match(match: EventMatch) -> tuple[str, ...]:
    return (match.event,) if match.where is None else (match.event, match.where.source)


def _moment(step: WaitUntil, names: Names) -> tuple[str, ...]:
    clock = "" if step.time is None else step.time.strftime("%H:%M")
    if step.date is None:
        days = sorted(step.weekdays)
        which = "" if len(days) == 7 else " ".join(names.weekdays[day] for day in days)
        return (f"{which} {clock}".strip(),)
    offset = step.offset
    moved = ""
    if offset:
        moved = f" {'-' if offset.total_seconds() < 0 else '+'} {duration_text(abs(offset))}"
    return (f"{step.date.source}{moved}", *([clock] if clock else []))
