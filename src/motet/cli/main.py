"""The `motet` command: find the subcommand, and print user errors as one line with exit code 2."""

import errno
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

# Name: (module with main(arguments), description). Modules are imported only when needed, so that --help is fast.
_COMMANDS = {
    "compare": ("motet.cli.compare", "train methods on DATA, print a table, write report.html"),
    "run": ("motet.cli.run", "run one experiment: a recipe of motet, or your own file.py:function"),
    "evaluate": ("motet.cli.evaluate", "score a finished run again, also under shift or with some members"),
    "report": ("motet.cli.report", "write the report of a finished comparison again"),
    "methods": ("motet.cli.lists", "list the methods"),
    "data": ("motet.cli.lists", "list the data sets"),
    "recipes": ("motet.cli.lists", "list the recipes"),
}

# Several processes would overwrite each other's results.
_ALONE = ("compare", "evaluate", "report")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``motet ARGUMENTS`` and return its exit code: 0, 2 for bad input, 130 or 143 when stopped.

    Errors that the parser finds in a command's arguments exit with ``SystemExit(2)``, and its help with
    ``SystemExit(0)``.
    """
    argv = list(sys.argv[1:] if arguments is None else arguments)
    from motet.errors import InputError, LostRankError, RunInterrupted, TrainingDivergedError

    code = 2
    try:
        code = _run(argv)
        sys.stdout.flush()  # flushed here, to notice a closed pipe now and not when the process ends
        return code
    except (InputError, TrainingDivergedError) as error:
        message = str(error)
    except LostRankError as error:
        message, code = str(error), 1
    except RunInterrupted as stop:
        message, code = str(stop), 128 + stop.signal
    except KeyboardInterrupt:
        message, code = "stopped; run the same command again to continue", 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output has closed the pipe (`motet methods | head -1`), which is not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        message = _explain(error)
    except (MemoryError, RuntimeError) as error:
        # torch's class for this, and its message on the CPU; importing torch to compare classes would take a second.
        if not isinstance(error, MemoryError) and "out of memory" not in str(error) and "t allocate" not in str(error):
            message = _of_users_code(error)
        else:
            message = "not enough memory. Use a smaller model, fewer members, a smaller batch, or another device."
    except Exception as error:
        message = _of_users_code(error)
    if _should_print(message):
        print(f"motet: {message}", file=sys.stderr, flush=True)  # noqa: T201
    return code


def _should_print(message: str) -> bool:
    """Whether this process should print the message: only one of several that fail alike should."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    from motet.distributed import should_print_message

    return should_print_message(message)


def _run(argv: Sequence[str]) -> int:
    from motet.errors import InputError, nearest, printable

    if odd := next((each for each in argv if not _is_unicode(each)), None):
        # Records hold the command and its settings, and JSON is Unicode.
        raise InputError(
            "arguments must be valid Unicode text",
            got=printable(odd),
            fix="Rename the file or folder, or make a link to it with another name, and pass that",
        )
    if not argv:
        print(_usage(), file=sys.stderr)  # noqa: T201
        return 2
    if argv[0] in ("-h", "--help", "help"):
        print(_usage())  # noqa: T201
        return 0
    if argv[0] in ("-V", "--version"):
        from motet import __version__

        print(f"motet {__version__}")  # noqa: T201
        return 0
    if argv[0] not in _COMMANDS:
        raise InputError("the command must be one of motet's", got=repr(argv[0]), fix=nearest(argv[0], _COMMANDS))
    if argv[0] in _ALONE and os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError(
            "torchrun can only start motet run, the one command that works on several processes",
            got=f"motet {argv[0]} with WORLD_SIZE={os.environ['WORLD_SIZE']}",
            fix=f"Run motet {argv[0]} without torchrun, or unset WORLD_SIZE",
        )
    code: int = import_module(_COMMANDS[argv[0]][0]).main(argv)
    return code


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _usage() -> str:
    lines = "\n".join(f"  {name:<9} {text}" for name, (_, text) in _COMMANDS.items())
    return (
        "usage: motet COMMAND ...\n\nSeveral independent predictors inside one neural network, read "
        f"out as an ensemble.\n\ncommands:\n{lines}\n\nmotet COMMAND --help shows a command's options. "
        "Start with: motet compare digits"
    )


def _of_users_code(error: Exception) -> str:
    """Return the message for an error in the user's own code. Others are faults of motet, and are raised again."""
    from motet._internal.loading import raised_by_user

    found = raised_by_user(error)
    if found is None:
        raise error
    return f"your own code failed: {found}. Correct it there, then run the same command again."


def _explain(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: writing{where} failed. Free some space, then run the same command again to continue."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to use{where} ({error.strerror}). Choose another folder with --out."
    return f"{error.strerror or error}{':' + where if where else ''}."


if __name__ == "__main__":
    sys.exit(main())
