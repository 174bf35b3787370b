"""A statement made with SQLAlchemy Core as text and parameters for a pool of asyncpg."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import asyncpg

_DIALECT = asyncpg.dialect()  # type: ignore[no-untyped-call]


def prepared(statement: sa.ClauseElement) -> tuple[str, list[Any]]:
    """The text with $1, $2, …, and what they stand for."""
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    assert isinstance(compiled, sa.sql.compiler.SQLCompiler)
    parameters = compiled.construct_params()
    return str(compiled), [parameters[name] for name in compiled.positiontup or ()]
