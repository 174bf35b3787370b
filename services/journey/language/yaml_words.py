"""What the YAML library says, in the words of somebody who does not know YAML's grammar."""

from ruamel.yaml.error import MarkedYAMLError

_INDENT = "check the indentation: the lines of one block begin in the same column, with spaces"
_QUOTES = "within them, a condition that has commas or brackets itself needs quotes"

_WORDS: tuple[tuple[str, str, str], ...] = (
    (
        "mapping values are not allowed",
        "a `:` stands where no name can",
        'a text that contains ": " needs quotes; otherwise ' + _INDENT,
    ),
    ("found unexpected end of stream", "a quote is opened here and never closed", ""),
    ("found unexpected document", "a quote is opened here and never closed", ""),
    (
        "could not find expected ':'",
        "a `:` is missing behind this name",
        "write `name: value`, with a space behind the colon",
    ),
    (
        "expected <block end>",
        "this does not belong to the block above",
        _INDENT + "; a text that begins with a quote ends with it",
    ),
    ("expected the node content", "a value or a closing bracket is missing here", ""),
    (
        "expected ',' or",
        "a `,` or the closing bracket is missing here",
        "`[a, b]` and `{a: b, c: d}` need commas and their closing bracket; " + _QUOTES,
    ),
    ("sequence entries are not allowed", "a list (`- `) cannot begin here", _INDENT),
    ("block mapping", "this cannot stand here", _INDENT),
    (
        "cannot start any token",
        "a value cannot begin with this character",
        "put the text in quotes",
    ),
    ("found unknown escape", "this escape is unknown within double quotes", "double the backslash"),
    ("undefined alias", "there is no such anchor", "a text that begins with `*` needs quotes"),
    ("alphabetic or numeric", "a name is missing here", "a text like this needs quotes"),
    ("unexpected ':'", "a `:` within braces or brackets", "put the text in quotes"),
    (
        "found undefined tag",
        "YAML tags are not used here",
        "a text that begins with `!` needs quotes",
    ),
    ("found duplicate", "the same is said twice", "leave one of them out"),
)


def reword(error: MarkedYAMLError, line: str) -> tuple[str, str]:
    """Message and hint; `line` is the source line at which the parser stopped."""
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent:
        return "a tab stands in the indentation", "indent with spaces"
    said = str(error.problem or error.context or "")
    for words, message, hint in _WORDS:
        if words in said:
            return message, hint
    return f"this is not YAML: {said}" if said else "this is not YAML", ""
