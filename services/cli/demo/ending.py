"""The end of the showing: a small table, whether all is well, and where to look further."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from services.cli.demo import words
from services.cli.demo.play import Outcome
from services.cli.demo.screen import Screen
from services.cli.demo.words import Words


def show_outcome(screen: Screen, outcome: Outcome) -> None:
    say = screen.say
    rows = [
        (say(words.SENT), _counted(outcome.sent, screen.channel)),
        (say(words.HELD), _held(screen, outcome)),
        (say(words.DROPPED), _counted(outcome.dropped, _reason(screen))),
        (say(words.FAILED), _counted(outcome.failed, _reason(screen))),
        (
            say(words.ARRIVED),
            _sentence(
                outcome.received,
                say(words.ARRIVED_ARE, outcome.sent["email"], outcome.duplicates),
            ),
        ),
        (
            say(words.EVENTS),
            _sentence(outcome.taken_in, say(words.EVENTS_ARE, outcome.repeated)),
        ),
    ]
    screen.heading(words.OUTCOME)
    screen.facts(rows)
    screen.verdict(well=outcome.well, lines=_verdict(screen, outcome))


def show_ways_on(screen: Screen, workspace: Path, mails: Path, data: Path | None) -> None:
    say = screen.say
    rows = [
        (say(words.MAILS), f"{_near(mails)}/*.eml"),
        (say(words.JOURNEYS_ARE), f"{_near(workspace)}/journeys"),
        (say(words.RUN_IT), f"dangol up --workspace {_near(workspace)}"),
        (say(words.READ), "README.md, docs/architecture.md"),
    ]
    if data is not None:
        rows.append((say(words.AGAIN), f"dangol up --data {_near(data)}"))
    screen.heading(words.LOOK)
    screen.facts(rows)


def _verdict(screen: Screen, outcome: Outcome) -> Sequence[str]:
    if outcome.well:
        return [screen.say(words.ALL_WELL)]
    wrong: Sequence[tuple[Words, Sequence[object]]] = [
        (words.MISSING, [len(outcome.missing)]),
        (words.UNASKED, [len(outcome.unasked)]),
        (words.TWICE, [outcome.duplicates]),
        (words.OPEN, [outcome.undecided]),
        (words.UNCLEAR, [outcome.failed["unknown"]]),
    ]
    lines = [screen.say(of, *values) for of, values in wrong if values != [0]]
    sent_once = outcome.posted - outcome.repeated
    if outcome.taken_in != sent_once:
        lines.append(screen.say(words.LOST, sent_once, outcome.taken_in))
    if not outcome.sent["email"]:
        lines.append(screen.say(words.NOTHING_SENT))
    return lines


def _held(screen: Screen, outcome: Outcome) -> str:
    held = outcome.held
    return _sentence(
        held.total(), screen.say(words.HELD_WERE, held["sent"], held.total() - held["sent"])
    )


def _counted(counts: Counter[str], name: Callable[[str], str]) -> str:
    return _sentence(
        counts.total(), " · ".join(f"{name(key)} {n}" for key, n in counts.most_common())
    )


def _sentence(count: int, text: str) -> str:
    return f"{count:3}  {text}" if count else f"{count:3}"


def _reason(screen: Screen) -> Callable[[str], str]:
    def name(reason: str) -> str:
        known = words.SHORT_REASONS.get(reason)
        return screen.say(known) if known else reason

    return name


def _near(path: Path) -> Path:
    """Relative to where the person is, where that is shorter."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path
