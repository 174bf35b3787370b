"""A chart as Mermaid text, which GitHub, GitLab and many editors draw by themselves."""

from dataclasses import dataclass, field

from services.console.graph.chart import Box, Chart, Counts, Fork, Loop, Sequence
from services.console.graph.wording import Names

_SHAPES = {
    "start": ('(["', '"])'),
    "end": ('(["', '"])'),
    "wait": ('("', '")'),
    "send": ('[/"', '"/]'),
    "choice": ('{{"', '"}}'),
    "action": ('["', '"]'),
}
Way = tuple[str, str]
"""A node that leads on, and what stands at the arrow."""


def to_mermaid(chart: Chart, names: Names) -> str:
    """The text of a `flowchart`, ending in a newline."""
    writing = _Writing(names)
    writing.lines += ["---", f"title: {_title(chart.title)}", "---", "flowchart TD"]
    start = writing.node(chart.start)
    ways = writing.sequence(chart.body, [(start, "")])
    if ways:
        writing.arrows(ways, writing.node(chart.end))
    return "\n".join(writing.lines) + "\n"


@dataclass(slots=True)
class _Writing:
    names: Names
    lines: list[str] = field(default_factory=list)
    nodes: int = 0

    def node(self, box: Box) -> str:
        name = f"n{self.nodes}"
        self.nodes += 1
        opening, closing = _SHAPES[box.shape]
        lines = [_text(line) for line in box.lines]
        if box.counts is not None:
            lines.append(_text(count_text(box.counts, self.names)))
        self.lines.append(f"  {name}{opening}{'<br/>'.join(lines)}{closing}")
        return name

    def arrows(self, ways: list[Way], to: str) -> None:
        for source, label in ways:
            arrow = f'-->|"{_text(label)}"|' if label else "-->"
            self.lines.append(f"  {source} {arrow} {to}")

    def sequence(self, sequence: Sequence, ways: list[Way]) -> list[Way]:
        """Draws it behind `ways`; returns the ways that lead out of it."""
        for item in sequence.items:
            box = item if isinstance(item, Box) else item.box
            name = self.node(box)
            self.arrows(ways, name)
            match item:
                case Fork(arms=arms):
                    ways = [
                        way for arm in arms for way in self.sequence(arm.body, [(name, arm.label)])
                    ]
                case Loop(body=body, label=label):
                    back = self.sequence(body, [(name, "")])
                    self.arrows([(source, text or label) for source, text in back], name)
                    ways = [(name, "")]
                case _:
                    ways = [(name, "")]
        return [] if sequence.ends else ways


def count_text(counts: Counts, names: Names) -> str:
    text = f"{names.reached} {counts.reached:,}"
    return text if counts.here is None else f"{text} · {names.here} {counts.here:,}"


def _text(text: str) -> str:
    """Within quotes Mermaid takes everything but these literally."""
    for sign, entity in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
        text = text.replace(sign, entity)
    return text.replace("\n", " ").replace("`", "#96;")


def _title(title: str) -> str:
    return '"' + title.replace("\\", "\\\\").replace('"', '\\"') + '"'
