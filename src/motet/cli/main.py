"""The `motet` command: find the subcommand, and turn errors of the user's into one line and exit code 2."""

import errno
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

# Name: (module with main(arguments), what it does). Nothing is imported before it is needed: --help must be quick.
_COMMANDS = {
    "compare": ("motet.cli.compare", "train the methods side by side on DATA, print the table, write report.html"),
    "run": ("motet.cli.run", "run one experiment: a recipe of motet's or your own file.py:function"),
    "evaluate": ("motet.cli.evaluate", "score a finished run again, also with different examples for the members"),
    "report": ("motet.cli.report", "write the report page of a finished comparison again"),
    "methods": ("motet.cli.lists", "the methods, a line each"),
    "data": ("motet.cli.lists", "the data sets, a line each"),
    "recipes": ("motet.cli.lists", "the recipes, a line each"),
}

# Several processes would do these over each other.
_ALONE = ("compare", "evaluate", "report")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``motet ARGUMENTS`` and return its exit code: 0, 2 for bad input, 130 or 143 when stopped.

    What the parser of a command's arguments refuses leaves as ``SystemExit(2)``, and its help as ``SystemExit(0)``.
    """
    argv = list(sys.argv[1:] if arguments is None else arguments)
    from motet.errors import InputError, LostRankError, RunInterrupted, TrainingDivergedError

    code = 2
    try:
        code = _run(argv)
        sys.stdout.flush()  # here, where a reader that has gone is noticed, and not when the process ends
        return code
    except (InputError, TrainingDivergedError) as error:
        message = str(error)
    except LostRankError as error:
        message, code = str(error), 1
    except RunInterrupted as stop:
        message, code = str(stop), 128 + stop.signal
    except KeyboardInterrupt:
        message, code = "stopped; run the same command again to go on", 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has gone (`motet methods | head -1`): not an error, and nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        message = _explain(error)
    except (MemoryError, RuntimeError) as error:
        # torch's class for this, and its words on the CPU; importing torch to compare classes would cost a second.
        if not isinstance(error, MemoryError) and "out of memory" not in str(error) and "t allocate" not in str(error):
            raise
        message = "not enough memory. Take a smaller model, fewer members, a smaller batch, or another device."
    if _is_mine_to_say(message):
        print(f"motet: {message}", file=sys.stderr, flush=True)  # noqa: T201
    return code


def _is_mine_to_say(message: str) -> bool:
    """Whether this process should print the message: of several that fail alike only one should."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    from motet.distributed import mine_to_say

    return mine_to_say(message)


def _run(argv: Sequence[str]) -> int:
    from motet.errors import InputError, nearest

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
            "torchrun must start motet run, which alone works on several processes",
            got=f"motet {argv[0]} with WORLD_SIZE={os.environ['WORLD_SIZE']}",
            fix=f"Run motet {argv[0]} without torchrun, or unset WORLD_SIZE",
        )
    code: int = import_module(_COMMANDS[argv[0]][0]).main(argv)
    return code


def _usage() -> str:
    lines = "\n".join(f"  {name:<9} {text}" for name, (_, text) in _COMMANDS.items())
    return (
        "usage: motet COMMAND ...\n\n"
        "Several independent predictors inside one neural network, read out as an ensemble.\n\n"
        f"commands:\n{lines}\n\n"
        "motet COMMAND --help shows a command's settings. Start with: motet compare digits"
    )


def _explain(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: writing{where} failed. Free some space, then run the same command again to go on."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to use{where} ({error.strerror}). Choose another folder with --out."
    return f"{error.strerror or error}{':' + where if where else ''}."


if __name__ == "__main__":
    sys.exit(main())
