"""Liquid, shut in: bounded in time, memory and output, without files, clock or Python's objects.

python-liquid looks names up with `[...]` only, so plain data (what JSON can hold) exposes nothing
else. What it leaves open is closed here: `include` and `render` are taken out, iterations count
over the whole template rather than per nest of loops, every filter's arguments and result are
measured, all work together has an end in time, and `now`, `today` and `date: 'now'` mean the
instant that the caller hands over.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from io import StringIO
from typing import Any, TextIO

from liquid import BoundTemplate, Environment, Node, RenderContext, Token
from liquid.builtin.tags.for_tag import ForLoop
from liquid.builtin.tags.tablerow_tag import TableRow
from liquid.exceptions import FilterError, LoopIterationLimitError
from liquid.filter import with_context
from liquid.undefined import is_undefined

from shared.templates.effort import Effort
from shared.templates.filters import OWN, local
from shared.templates.instants import instant_of
from shared.templates.plain_paths import Buffer, PlainOutput, Scopes, join, steps_of

MOST_OUTPUT = 1_000_000
"""Bytes of a rendered text, characters of any text on the way to it."""
MOST_ITERATIONS = 20_000
_MOST_ITEMS = 10_000
_LARGEST = 10**18


MOST_WORK = 20_000_000
"""Characters that the filters of one template may take and make; an item of a list counts ten."""


class _Context(RenderContext):
    __slots__ = ("effort", "iterations", "work")

    def __init__(self, *args: Any, effort: Effort | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.effort = effort or Effort()
        self.iterations = 0
        self.work = 0
        # Without the library's own `now` and `today`, which read the clock.
        self.scope = Scopes(self.locals, self.globals, self.counters)

    def get_buffer(self, buf: TextIO | None = None) -> StringIO:
        used = buf.size if isinstance(buf, Buffer) else 0
        return Buffer(MOST_OUTPUT - used, self.effort)

    def get(self, *args: Any, **kwargs: Any) -> object:
        """What a path leads to. No condition works on a large text but by its name."""
        self.effort.count()
        return super().get(*args, **kwargs)

    def assign(self, key: str, val: Any) -> None:
        self.effort.count()  # each measures all that were made before
        super().assign(key, val)

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        """The filter, whose work counts: a large text in a loop may not take seconds."""
        self.effort.count()
        work = super().filter(name, token)

        def counted(*args: Any, **kwargs: Any) -> object:
            weight = sum(map(_weight, args))
            if name == "uniq":  # compares each with each
                weight = weight * weight // 100
            self.work += weight
            if self.work > MOST_WORK:
                raise FilterError("this template works too much", token=token)
            result = work(*args, **kwargs)
            self.work += _weight(result)
            return result

        return counted

    @contextmanager
    def loop(
        self, namespace: Mapping[str, object], forloop: ForLoop | TableRow
    ) -> Iterator[RenderContext]:
        self.iterations += max(forloop.length, 1)
        if self.iterations > MOST_ITERATIONS:
            raise LoopIterationLimitError("too many iterations", token=None)
        forloop.it = self._counted(forloop.it)
        with super().loop(namespace, forloop) as context:
            yield context

    def _counted(self, items: Iterator[object]) -> Iterator[object]:
        for item in items:
            self.effort.count()
            yield item


class SandboxTemplate(BoundTemplate):
    context_class = _Context

    def __init__(self, env: Environment, nodes: list[Node], *args: Any, **kwargs: Any) -> None:
        super().__init__(env, nodes, *args, **kwargs)
        self._steps = steps_of(nodes)

    def render(self, *args: Any, **kwargs: Any) -> str:
        return self.render_within(Effort(), dict(*args, **kwargs))

    def render_within(self, effort: Effort, names: Mapping[str, Any]) -> str:
        """The text, whose work counts among the other texts' of the same message."""
        if self._steps is None:
            context, buffer = self._context(names, effort), Buffer(MOST_OUTPUT, effort)
            self.render_with_context(context, buffer)
            return buffer.getvalue()
        return join(
            self._steps,
            names,
            lambda: self._context(names, effort),
            autoescape=self.env.autoescape,
            most=MOST_OUTPUT,
        )

    def _context(self, names: Mapping[str, object], effort: Effort) -> _Context:
        return _Context(self, globals=names, effort=effort)


class Sandbox(Environment):
    template_class = SandboxTemplate
    loop_iteration_limit = MOST_ITERATIONS
    local_namespace_limit = MOST_OUTPUT
    output_stream_limit = MOST_OUTPUT
    block_nesting_limit = 30

    def parsed(self, source: str) -> SandboxTemplate:
        template = self.from_string(source)
        assert isinstance(template, SandboxTemplate)
        return template

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        self.add_tag(PlainOutput)
        for tag in ("include", "render"):
            del self.tags[tag]
        filters = {**self.filters, **OWN}
        self.filters = {name: _measured(work) for name, work in filters.items()}
        self.filters["date"] = _date
        self.filters["replace"] = _measured_replace(self.filters["replace"])


def _measured(work: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, refusing to take or make what is too large."""

    @wraps(work)  # keeps the library's marks (`with_context`, `with_environment`), too
    def measured(*args: Any, **kwargs: Any) -> Any:
        for argument in args:
            _measure(argument)
        result = work(*args, **kwargs)
        _measure(result)
        return result

    return measured


def _measured_replace(work: Callable[..., Any]) -> Callable[..., Any]:
    """`replace` may grow a text by any factor in one go, so it is measured beforehand."""

    @wraps(work)
    def replace(value: object, old: object = "", new: object = "") -> Any:
        whole, part = str(value), str(old)
        if (whole.count(part) + 1) * len(str(new)) > MOST_OUTPUT:
            raise FilterError("this text is too large", token=None)
        return work(value, old, new)

    return replace


def _measure(value: object) -> None:
    if isinstance(value, str):
        too_large = len(value) > MOST_OUTPUT
    elif isinstance(value, int):
        too_large = not -_LARGEST < value < _LARGEST
    elif isinstance(value, (list, tuple, range)):
        too_large = len(value) > _MOST_ITEMS
    else:
        return
    if too_large:
        raise FilterError("this value is too large", token=None)


def _weight(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    return 10 * len(value) if isinstance(value, (list, tuple, range)) else 1


_LONGEST_FORMAT = 100


@with_context
def _date(value: object, layout: object = "", *, context: RenderContext) -> object:
    """`date: "%d.%m."` of an ISO text, an instant or epoch seconds, in the reader's time zone;
    others stay as they are."""
    if value in ("now", "today"):
        value = context.resolve("now")
    instant = instant_of(value)
    if instant is None or is_undefined(layout):
        return "" if is_undefined(value) else value
    written = str(layout)
    if len(written) > _LONGEST_FORMAT or re.search(r"%[^A-Za-z%]?\d", written):
        raise FilterError("this date format is not understood", token=None)
    dated = isinstance(value, str) and len(value) == 10
    return (instant if dated else local(instant, context)).strftime(written)


TEXT = Sandbox()
"""For subjects and text bodies: what names hold is written as it is."""
HTML = Sandbox(autoescape=True)
"""For HTML bodies: what names hold is escaped."""
