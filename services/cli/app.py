"""The command `dangol`.

Commands import what they need when they run, so that `--help` and `validate` answer at once.
"""

import gc
import os
import sys
from collections.abc import Sequence

import typer

from services.cli.commands import (
    apply,
    backtest,
    doctor,
    erasures,
    explain,
    fake_providers,
    graph,
    import_,
    infer,
    init,
    journeys,
    kakao_templates,
    key,
    mail_domains,
    migrate,
    notices,
    preview,
    restored,
    results,
    retention,
    rfm,
    run,
    schema,
    set_aside,
    simulate,
    test,
    validate,
)
from services.cli.terminal import paint, report
from shared.errors import DangolError

app = typer.Typer(
    name="dangol",
    help="Turns one-time buyers into regulars: events in, the right message out, once.",
    epilog="Exit status: 0 for success, 1 for an error or for problems found, 2 for a wrong call,"
    " 130 for Ctrl-C. `dangol COMMAND --help` shows an example.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (
    run,
    init,
    validate,
    simulate,
    backtest,
    test,
    explain,
    graph,
    preview,
    results,
    retention,
    apply,
    journeys,
    key,
    rfm,
    set_aside,
    notices,
    mail_domains,
    erasures,
    restored,
    import_,
    infer,
    migrate,
    doctor,
    schema,
    kakao_templates,
    fake_providers,
):
    commands.register(app)

_STATUSES = "Exit status: 0 for success, 1 for an error or for problems found, 2 for a wrong call."
_OTHER_STATUSES = {
    "plan": "Exit status: 0, or 1 for an error or for problems found; with --exit-code 0 if nothing"
    " would change and 2 if something would. 2 also for a wrong call.",
    "test": "Exit status: 0 if every test passed, 1 if one failed or the workspace has problems, 2"
    " for a wrong call.",
}


def _tell_statuses(group: typer.Typer) -> None:
    for each in group.registered_commands:
        statuses = _OTHER_STATUSES.get(str(each.name), _STATUSES)
        each.epilog = f"{each.epilog}\n\n{statuses}"
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _tell_statuses(inner.typer_instance)


_tell_statuses(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"dangol {version('dangol')}")
        raise typer.Exit


@app.callback()
def options(
    _version: bool = typer.Option(
        False, "--version", help="Print the version.", callback=_print_version
    ),
) -> None:
    pass


def call(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code: 0, 1 for a failure, 2 for a wrong call."""
    try:
        app(list(arguments), prog_name="dangol")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except DangolError as error:
        report(error)
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # a defect of ours, without a traceback
        if os.environ.get("DANGOL_DEBUG"):
            raise
        print(
            f"{paint('error:', sys.stderr, fg='red', bold=True)} this is a defect in Dangol:"
            f" {type(error).__name__}: {error}\n"
            f"{paint('hint:', sys.stderr, fg='cyan')} set DANGOL_DEBUG=1 to see where it happens,"
            " and please report it",
            file=sys.stderr,
        )
        return 1
    return 0


def main() -> None:
    gc.set_threshold(50_000)  # imports make many objects, and all of them stay: a tenth of the time
    sys.exit(call(sys.argv[1:]))
