"""One YAML file through the first two passes: bytes, located tree, checked model."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from services.journey.language.model.reader import read_model
from services.journey.language.problems import Problem, Problems
from services.journey.language.reading import decode, read_tree
from services.journey.language.tree import Node

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Document(Generic[M]):
    model: M
    tree: Node
    problems: Problems
    """The collector for this file, for the passes that follow."""
    whole: bool
    """Whether the model holds all of the file; the rest has its problems already."""

    @property
    def text(self) -> str:
        return "\n".join(self.problems.source.lines)

    @property
    def partial_tree(self) -> Node | None:
        return None if self.whole else self.tree


def read_document(
    model: type[M], file: str, content: bytes, found: list[Problem]
) -> Document[M] | None:
    """The document; None where nothing of it can be used. Problems are added to `found`."""
    source = decode(file, content, found)
    if source is None:
        return None
    problems = Problems(source, found)
    tree = read_tree(problems)
    if tree is None:
        return None
    read, whole = read_model(model, tree, problems)
    return None if read is None else Document(read, tree, problems, whole)
