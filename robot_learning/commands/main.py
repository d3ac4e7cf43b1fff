"""The `robot-learning` command: finds the verb among the modules of this folder and runs it.

A verb is a module with a docstring (its first line is the help text), a frozen dataclass `Config` (its flags, read by tyro) and
`run(config) -> int` (its exit code); `run(config, given)` also learns which flags were given. `train.py` is `robot-learning
train`; `dataset_export_minari.py` is `robot-learning dataset export-minari`. Only the chosen module is imported, so `--help`
answers at once.
"""

from __future__ import annotations

import ast
import difflib
import errno
import importlib
import inspect
import os
import sys
from pathlib import Path
from types import ModuleType

import robot_learning
from robot_learning.errors import UserError

PROGRAM = "robot-learning"
OK, FAILURE, MISUSE, INTERRUPTED = 0, 1, 2, 130  # exit codes; 130 is what a shell reports for Ctrl-C


class VerbError(UserError, ValueError):
    """There is no such verb; the message lists the valid ones."""


def verbs(folder: Path | None = None) -> dict[str, str]:
    """Every verb as typed (`"dataset info"`) and the module in `folder` that implements it (`"dataset_info"`)."""
    stems = sorted(path.stem for path in (folder or Path(__file__).parent).glob("*.py"))
    return {_typed(stem): stem for stem in stems if stem != "main" and not stem.startswith("_")}


def _typed(stem: str) -> str:
    group, _, rest = stem.partition("_")
    return f"{group} {rest.replace('_', '-')}" if rest else group


def summary(module: str, folder: Path | None = None) -> str:
    """The first line of a verb's docstring, read without importing the module (that may import torch)."""
    source = ((folder or Path(__file__).parent) / f"{module}.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    return docstring.split("\n", 1)[0]


def overview(group: str = "") -> str:
    """The help text: every verb, or those of one group, each with its summary."""
    listed = {verb: module for verb, module in verbs().items() if not group or verb.split()[0] == group}
    width = max(map(len, listed), default=0)
    lines = [f"usage: {PROGRAM} [--debug] {group + ' ' if group else ''}VERB [options]", ""]
    lines += [f"  {verb:<{width}}  {summary(module)}" for verb, module in listed.items()]
    lines += ["", f"  {PROGRAM} VERB --help   the options of a verb"]
    lines += [f"  {PROGRAM} --version     the version", f"  {PROGRAM} --debug ...   errors with their traceback"]
    return "\n".join(lines)


def find(arguments: list[str]) -> tuple[str, list[str]]:
    """The verb that starts `arguments` (one or two words) and what follows it.

    Raises:
        VerbError: no verb starts that way; the message lists the valid ones and the nearest.
    """
    known = verbs()
    for length in (2, 1):
        verb = " ".join(arguments[:length])
        if len(arguments) >= length and verb in known:
            return verb, arguments[length:]
    words = [word for word in arguments[:2] if not word.startswith("-")]
    in_group = [verb for verb in known if words and verb.split()[0] == words[0]]
    tried = " ".join(words if in_group else words[:1]) or arguments[0]
    near = _near(tried, " ".join(words), in_group or list(known))
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise VerbError(f"there is no verb {tried!r}{hint}\nvalid verbs: {', '.join(in_group or known)}")


def _near(tried: str, typed: str, valid: list[str]) -> list[str]:
    """The valid verb or group of verbs that is nearest to the word `tried`, with what followed it to all that was `typed`."""
    groups = {verb.split()[0] for verb in valid if " " in verb}
    near = difflib.get_close_matches(tried, [*valid, *groups.difference(tried.split())], n=1)
    if not near or (near[0] in groups and tried != typed):
        of_group = [verb for verb in valid if not near or verb.split()[0] == near[0]]
        near = difflib.get_close_matches(typed, of_group, n=1) or near
    return near


def execute(verb: str, arguments: list[str]) -> int:
    """Import the verb's module, read its flags and run it."""
    import tyro

    module: ModuleType = importlib.import_module(f"robot_learning.commands.{verbs()[verb]}")
    config = tyro.cli(module.Config, args=arguments, prog=f"{PROGRAM} {verb}", description=module.__doc__)
    asks = "given" in inspect.signature(module.run).parameters
    return int(module.run(config, given=given_flags(arguments)) if asks else module.run(config))


def given_flags(arguments: list[str]) -> frozenset[str]:
    """The names, as in Python, of the flags among `arguments`: `--no-only-success` gives `only_success`."""
    names = {argument[2:].split("=")[0].replace("-", "_") for argument in arguments if argument.startswith("--")}
    parts = [name.rpartition(".") for name in names]
    return frozenset(names | {f"{group}{dot}{name.removeprefix('no_')}" for group, dot, name in parts})


def main(arguments: list[str] | None = None) -> int:
    """Run one command line (`sys.argv` by default) and return its exit code: 0 done, 1 failed, 2 misuse, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments[:1]
    arguments = arguments[1:] if debug else arguments
    if not arguments:
        print(overview(), file=sys.stderr)
        return MISUSE
    if arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return OK
    if arguments[0] == "--version":
        print(f"{PROGRAM} {robot_learning.__version__}")
        return OK
    groups = {verb.split()[0] for verb in verbs() if " " in verb} - verbs().keys()
    if arguments[0] in groups and (len(arguments) == 1 or arguments[1] in ("-h", "--help")):
        print(overview(arguments[0]), file=sys.stderr if len(arguments) == 1 else sys.stdout)
        return MISUSE if len(arguments) == 1 else OK
    return _guarded(arguments, debug)


def _guarded(arguments: list[str], debug: bool) -> int:
    """Run a verb; what the user can mend is printed without a traceback."""
    try:
        return execute(*find(arguments))
    except UserError as error:
        if debug:
            raise
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return MISUSE
    except KeyboardInterrupt:
        if debug:
            raise
        print(f"\n{PROGRAM}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if debug or not (full or (error.filename and error.strerror)):  # without a path there is nothing to mend
            raise
        print(f"{PROGRAM}: {_full_disk(error) if full else _refused(error)}", file=sys.stderr)
        return FAILURE if full else MISUSE


def _full_disk(error: OSError) -> str:
    where = f" at {error.filename}" if error.filename else ""
    return (
        f"the disk is full{where} ({error.strerror}). What was committed before is whole; "
        "make room and give the same command again."
    )


def _refused(error: OSError) -> str:
    """What to tell of a path that the system does not let a verb read or write."""
    mend = "Choose another folder"
    if error.errno in (errno.EACCES, errno.EPERM):
        mend += ", or give yourself permission to read and write there (ls -ld and chmod u+rwX)"
    elif error.errno == errno.ENOENT:
        mend += ", or make what is missing"
    elif error.errno in (errno.EEXIST, errno.ENOTDIR):
        mend += ", or move the file that is in its place"
    elif error.errno == errno.EROFS:
        mend += ", or mount this one so that it can be written to"
    path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else error.filename
    return f"{path}: expected a path that can be read and written here, found that the system says {error.strerror!r}. {mend}."


if __name__ == "__main__":
    sys.exit(main())
