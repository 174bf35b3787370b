"""A journey as a picture: the flow that runs, drawn, with what its steps have counted."""

from services.console.graph.chart import Counts, chart_of
from services.console.graph.mermaid import to_mermaid
from services.console.graph.svg import to_svg

__all__ = ["Counts", "chart_of", "to_mermaid", "to_svg"]
