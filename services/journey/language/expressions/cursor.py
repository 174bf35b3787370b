"""A place among tokens, how to move on from it, and the bound on how high a tree may grow."""

from typing import TypeVar

from services.journey.language.expressions import words
from services.journey.language.expressions.lexer import Refused, Token
from services.journey.language.expressions.syntax import Node, Span

MOST_DEPTH = 50

N = TypeVar("N", bound=Node)


class Cursor:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self.depth = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._place]

    @property
    def ahead(self) -> Token:
        return self._tokens[min(self._place + 1, len(self._tokens) - 1)]

    def take(self) -> Token:
        token = self.token
        if token.kind != "end":
            self._place += 1
        return token

    def at(self, *texts: str) -> bool:
        return self.token.kind in ("symbol", "keyword") and self.token.text in texts

    def expect(self, text: str, why: str, opened: Token | None = None) -> Token:
        if self.at(text):
            return self.take()
        message = f"expected `{text}` {why} and found {self.token.shown()}"
        if opened is not None and self.token.kind == "end":
            raise self.refused(opened, f"this `{opened.text}` is never closed", f"add a `{text}`")
        _, hint = words.behind_operand(self.token)
        raise self.refused(self.token, message, hint)

    def refused(self, token: Token, message: str, hint: str = "") -> Refused:
        return Refused(*token.span, message, hint)

    def grown(self, node: N) -> N:
        """The node with its height, which stays below the bound."""
        height = 1 + max((child.height for child in node.children()), default=0)
        if height > MOST_DEPTH:
            raise self.too_deep(node.span)
        object.__setattr__(node, "height", height)
        return node

    def too_deep(self, span: Span) -> Refused:
        return Refused(
            span.start,
            span.end,
            f"this condition is nested more than {MOST_DEPTH} levels deep",
            "split it, or give part of it a segment",
        )
