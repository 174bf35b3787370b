"""A chart as one SVG file that needs nothing beside it: sequences downwards, arms side by side.

The layout is made of blocks. Each is measured first (width and height, its axis in the middle) and
then drawn from its top, so that no box ever stands on another, whatever is nested in what.
"""

from dataclasses import dataclass, field
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

from services.console.graph.chart import Box, Chart, Fork, Loop, Sequence
from services.console.graph.mermaid import count_text
from services.console.graph.wording import Names

_BOX = 236
_LINE = 18
_PAD = 11
_GAP = 30
_SIDE = 26
_FAN = 64
"""Between a fork's box and its arms: room for the arms' labels."""
_LANE = 46
"""Beside a loop's body, for the way back and the way out."""
_MARGIN = 24
_EMPTY = 130
_COLUMNS = 31
_MOST_LINES = 3

_STYLE = """
svg { font: 13px system-ui, "Apple SD Gothic Neo", "Noto Sans KR", "Noto Sans CJK KR",
  "Malgun Gothic", sans-serif; color: #1d2421; background: #fff; }
.box { fill: #fff; stroke: #c9cec9; } .strip { fill: #7a857f; } text { fill: currentColor; }
.start .strip, .end .strip { fill: #1d2421; } .wait .strip { fill: #8a5200; }
.send .strip { fill: #0b6e4f; } .choice .strip { fill: #2f5d9b; }
.head { font-weight: 600; } .soft, .label { fill: #5b6560; font-size: 12px; }
.label { text-anchor: middle; paint-order: stroke; stroke: #fff; stroke-width: 5px; }
.count { fill: #0b6e4f; font-size: 12px; font-weight: 600; }
.way { fill: none; stroke: #8b948e; stroke-width: 1.5; } .tip { fill: #8b948e; }
@media (prefers-color-scheme: dark) {
  svg { color: #e9ede9; background: #1d2320; }
  .label { stroke: #1d2320; }
  .box { fill: #262d29; stroke: #46504a; } .soft, .label { fill: #a3ada7; }
  .count { fill: #8fe0c0; } .start .strip, .end .strip { fill: #e9ede9; }
  .send .strip { fill: #6fd3ae; } .wait .strip { fill: #f2c27b; } .choice .strip { fill: #8db8f0; }
}
"""

Block = Box | Fork | Loop | Sequence


def to_svg(chart: Chart, names: Names) -> str:
    """A whole document, as text."""
    drawing = _Drawing(names)
    width, height = drawing.size(chart.body)
    start, end = drawing.size(chart.start)[1], drawing.size(chart.end)[1]
    whole = (max(width, _BOX) + 2 * _MARGIN, start + height + end + 2 * _GAP + 2 * _MARGIN)
    axis = whole[0] / 2
    bottom = drawing.draw(chart.start, axis, _MARGIN)
    drawing.way(axis, bottom, axis, bottom + _GAP, tip=bool(chart.body.items))
    bottom = drawing.draw(chart.body, axis, bottom + _GAP)
    if not chart.body.ends:
        drawing.way(axis, bottom, axis, bottom + _GAP, tip=True)
        drawing.draw(chart.end, axis, bottom + _GAP)
    title = escape(chart.title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole[0]:g} {whole[1]:g}"'
        f' width="{whole[0]:g}" height="{whole[1]:g}" role="img" aria-label="{_quoted(title)}">'
        f"\n<title>{title}</title>\n<style>{_STYLE}</style>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8"'
        ' markerHeight="8" orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>\n'
        + "\n".join(drawing.ways + drawing.boxes)
        + "\n</svg>\n"
    )


@dataclass(slots=True)
class _Drawing:
    names: Names
    ways: list[str] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)

    def size(self, block: Block) -> tuple[float, float]:
        match block:
            case Box():
                lines = len(self._lines(block))
                return _BOX, lines * _LINE + 2 * _PAD
            case Sequence(items=items):
                sizes = [self.size(item) for item in items]
                height = sum(h for _, h in sizes) + _GAP * max(len(sizes) - 1, 0)
                return max((w for w, _ in sizes), default=_EMPTY), height
            case Fork(box=box, arms=arms):
                sizes = [self.size(arm.body) for arm in arms]
                width = sum(w for w, _ in sizes) + _SIDE * (len(sizes) - 1)
                tall = max(h for _, h in sizes)
                return max(_BOX, width), self.size(box)[1] + _FAN + tall + _GAP
            case Loop(box=box, body=body):
                width, height = self.size(body)
                return (
                    max(_BOX, width) + 2 * _LANE,
                    self.size(box)[1] + _GAP + height + _GAP,
                )

    def draw(self, block: Block, axis: float, top: float) -> float:
        """Draws it below `top`; returns where it ends."""
        match block:
            case Box():
                return self._box(block, axis, top)
            case Sequence():
                return self._sequence(block, axis, top)
            case Fork():
                return self._fork(block, axis, top)
            case Loop():
                return self._loop(block, axis, top)

    def way(self, *points: float, tip: bool = False) -> None:
        pairs = [f"{x:g} {y:g}" for x, y in zip(points[::2], points[1::2], strict=True)]
        mark = ' marker-end="url(#tip)"' if tip else ""
        self.ways.append(f'<path class="way" d="M{"L".join(pairs)}"{mark}/>')

    def _sequence(self, sequence: Sequence, axis: float, top: float) -> float:
        for number, item in enumerate(sequence.items):
            if number:
                self.way(axis, top, axis, top + _GAP, tip=True)
                top += _GAP
            top = self.draw(item, axis, top)
        return top

    def _fork(self, fork: Fork, axis: float, top: float) -> float:
        bottom = self._box(fork.box, axis, top)
        sizes = [self.size(arm.body) for arm in fork.arms]
        join = bottom + _FAN + max(h for _, h in sizes) + _GAP
        left = axis - (sum(w for w, _ in sizes) + _SIDE * (len(sizes) - 1)) / 2
        for arm, (width, _height) in zip(fork.arms, sizes, strict=True):
            middle = left + width / 2
            left += width + _SIDE
            start = bottom + _FAN
            drawn = bool(arm.body.items)
            self.way(axis, bottom, axis, bottom + 12, middle, bottom + 12, middle, start, tip=drawn)
            self._label(arm.label, middle, bottom + 29, width)
            end = self.draw(arm.body, middle, start)
            if not arm.body.ends:
                self.way(middle, end, middle, join - 12, axis, join - 12, axis, join)
        return join

    def _loop(self, loop: Loop, axis: float, top: float) -> float:
        width, height = self.size(loop)
        bottom = self._box(loop.box, axis, top)
        middle, end = (top + bottom) / 2, top + height
        self.way(axis, bottom, axis, bottom + _GAP, tip=True)
        low = self.draw(loop.body, axis, bottom + _GAP)
        right, left, edge = axis + width / 2 - 14, axis - width / 2 + 14, _BOX / 2
        if not loop.body.ends:
            back = (axis, low, axis, low + 10, right, low + 10, right, middle, axis + edge, middle)
            self.way(*back, tip=True)
            self._label(loop.label, (right + axis + edge) / 2, middle - 8, 2 * _LANE)
        self.way(axis - edge, middle, left, middle, left, end - 4, axis, end - 4, axis, end)
        return end

    def _box(self, box: Box, axis: float, top: float) -> float:
        height = self.size(box)[1]
        x = axis - _BOX / 2
        whole = escape("\n".join((box.id, *box.lines)))
        parts = [
            f'<g class="{box.shape}" data-step="{_quoted(escape(box.id))}"><title>{whole}</title>',
            f'<rect class="box" x="{x:g}" y="{top:g}" width="{_BOX}" height="{height:g}" rx="9"/>',
            f'<rect class="strip" x="{x:g}" y="{top + 8:g}" width="4" height="{height - 16:g}"/>',
        ]
        for number, (style, line) in enumerate(self._lines(box)):
            y = top + _PAD + 13 + number * _LINE
            parts.append(f'<text class="{style}" x="{x + 16:g}" y="{y:g}">{escape(line)}</text>')
        self.boxes.append("".join(parts) + "</g>")
        return top + height

    def _lines(self, box: Box) -> list[tuple[str, str]]:
        head, *more = box.lines
        lines = [("head", line) for line in _wrapped(head)]
        lines += [("soft", line) for text in more for line in _wrapped(text)]
        if box.counts is not None:
            lines.append(("count", count_text(box.counts, self.names)))
        return lines

    def _label(self, text: str, middle: float, y: float, width: float) -> None:
        """On its way, at most two lines, with the whole of it as a tooltip."""
        lines = _wrapped(text, max(12, int(width / 6.6)), 2)
        shown = "".join(
            f'<tspan x="{middle:g}" y="{y + number * 15:g}">{escape(line)}</tspan>'
            for number, line in enumerate(lines)
        )
        self.boxes.append(f'<text class="label"><title>{escape(text)}</title>{shown}</text>')


def _columns(text: str) -> int:
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def _cut(text: str, columns: int) -> str:
    if _columns(text) <= columns:
        return text
    kept = ""
    for sign in text:
        if _columns(kept + sign) > columns - 1:
            break
        kept += sign
    return kept.rstrip() + "…"


def _wrapped(text: str, columns: int = _COLUMNS, most: int = _MOST_LINES) -> list[str]:
    """In lines of at most `columns`, at spaces where there are some; the rest is cut off."""
    lines: list[str] = []
    left = " ".join(text.split())
    while left and len(lines) < most - 1 and _columns(left) > columns:
        line = _cut(left, columns).removesuffix("…")
        at_space = line.rfind(" ")
        line = line[:at_space] if at_space > columns // 3 else line
        lines.append(line.rstrip())
        left = left[len(line) :].lstrip()
    return [*lines, _cut(left, columns)] if left or not lines else lines


def _quoted(escaped: str) -> str:
    return escaped.replace('"', "&quot;")
