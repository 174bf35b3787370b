"""Where the columns of a customer stand: the table, or an alias of it."""

from dataclasses import dataclass

import sqlalchemy as sa

from services.journey.language.sql.kinds import Column
from shared.db.tables import customers


@dataclass(frozen=True, slots=True)
class Row:
    partition: Column
    id: Column
    traits: Column
    rfm: Column
    """jsonb with recency, frequency, monetary and segment, or NULL."""

    @classmethod
    def of(cls, table: sa.FromClause = customers) -> "Row":
        """`customers` or an alias of it."""
        return cls(table.c.partition, table.c.id, table.c.traits, table.c.rfm)
