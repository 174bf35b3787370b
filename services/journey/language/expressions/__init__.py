"""The expression language: text → syntax tree → mistakes, or a closure.

node = parse(text)                  # Node, or one Mistake
check(node, context, "condition")   # all mistakes of names, arguments and kinds
expression(text, node)              # what the engine evaluates
"""

from services.journey.language.expressions.checker import check
from services.journey.language.expressions.closures import constant, expression
from services.journey.language.expressions.parser import parse
from services.journey.language.expressions.syntax import (
    Call,
    Mistake,
    Node,
    Path,
    segments_in,
)

__all__ = [
    "Call",
    "Mistake",
    "Node",
    "Path",
    "check",
    "constant",
    "expression",
    "parse",
    "segments_in",
]
