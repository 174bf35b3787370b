"""The owner's cache of customer rows: it is their only writer, so what it holds is true.

Bounded; the least recently used leave first. After a failed commit the whole cache is dropped,
since it may hold what was never stored.
"""

from collections import OrderedDict

from services.journey.core.state import Customer


class Cache:
    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._rows: OrderedDict[str, Customer] = OrderedDict()

    def get(self, customer: str) -> Customer | None:
        row = self._rows.get(customer)
        if row is not None:
            self._rows.move_to_end(customer)
        return row

    def put(self, customer: Customer) -> None:
        self._rows[customer.id] = customer
        self._rows.move_to_end(customer.id)

    def drop(self, customer: str) -> None:
        self._rows.pop(customer, None)

    def trim(self) -> None:
        """Called between batches, so that a batch never loses what it is working on."""
        while len(self._rows) > self._bound:
            self._rows.popitem(last=False)
