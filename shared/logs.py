"""Structured logs: a sentence for people, an `action` and ids for programs; never personal data.

On a terminal they are readable lines; elsewhere one JSON object a line, on standard error.
"""

import logging
import sys

import structlog


def configure(level: str) -> None:
    """Raises ValueError for a level that is none."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"`{level}` is no log level: use debug, info, warning or error")
    readable = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer()
            if readable
            else structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries speak only when something is wrong, and without the lines of each request.
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, force=True)
