"""A user's own saliency model, run as a program: no shell ever sees its words."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO

from wsss.engine.signals import die_with_parent
from wsss.errors import UserError

PLACES = ("list", "out")
TAIL_LINES, TAIL_BYTES = 15, 8192  # of what a failed command said


def words(command: str) -> list[str]:
    """The command's words, split as a shell would split them, and nothing else done to them.

    Raises:
        UserError: a quote is left open, {list} or {out} is missing, or the program or the script it starts is no file.
    """
    try:
        found = shlex.split(command)
    except ValueError as error:
        raise UserError(f"saliency: command: {command!r}: {error}; quotes must be closed") from None
    missing = [f"{{{place}}}" for place in PLACES if not any(f"{{{place}}}" in word for word in found)]
    if missing:
        raise UserError(
            f"saliency: command: {command!r} lacks {' and '.join(missing)}; {{list}} stands for the file of "
            "`id<TAB>image path` lines, {out} for the folder to write id.png into"
        )
    if gone := [word for word in _files_here(found) if not os.path.isfile(word)]:
        raise UserError(f"saliency: command: {gone[0]}: no such file (seen from {os.getcwd()}); mend the path")
    return found


def _files_here(found: list[str]) -> list[str]:
    """Words that must be files here: a program's path, and the script right behind an interpreter. Others may be of a container."""
    program, script = found[0], found[1] if len(found) > 1 else ""
    name = os.path.basename(program)
    interpreted = (name.startswith("python") or name in ("sh", "bash")) and script.endswith((".py", ".sh"))
    return [program] * (os.sep in program) + [script] * (interpreted and not script.startswith("-"))


def named_files(command: str) -> list[str]:
    """Files that stand in the command (the program's script, its weights, behind a = too): their content shapes the maps."""
    found = words(command)
    return sorted({word for word in (*found, *(word.partition("=")[2] for word in found)) if os.path.isfile(word)})


def write_list(path: Path, images: Iterable[tuple[str, Path]]) -> None:
    """One `id<TAB>image path` a line, UTF-8.

    Raises:
        UserError: a path that would break a line.
    """
    lines = []
    for item_id, image in images:
        if any(char in str(image) for char in "\t\r\n"):
            raise UserError(f"{str(image)!r}: a tab or a line break in a path cannot go into the list; rename it")
        lines.append(f"{item_id}\t{image}\n")
    path.write_bytes(os.fsencode("".join(lines)))


def run_command(command: str, listed: Path, out: Path, watch: Callable[[], None], more: Mapping[str, str] | None = None) -> None:
    """Run the command to its end; what it prints goes to stdout.txt and stderr.txt beside the list.

    Args:
        listed, out: take the places {list} and {out}, as absolute paths.
        watch: called every second; may raise, which ends the command and all it started.
        more: what its environment has beside this process's.

    Raises:
        UserError: it cannot be started, or ends with a status other than 0.
    """
    values = {"list": str(listed.absolute()), "out": str(out.absolute())}
    arguments = [re.sub(r"\{(list|out)\}", lambda m: values[m[1]], word) for word in words(command)]
    logs = [listed.with_name("stdout.txt"), listed.with_name("stderr.txt")]
    with open(logs[0], "wb") as stdout, open(logs[1], "wb") as stderr:
        process = _started(arguments, {**os.environ, **(more or {})}, stdout, stderr)
        try:
            while _running(process):
                watch()
        finally:
            _end(process)
    if process.returncode:
        said = tail(logs[1]) or tail(logs[0]) or "it printed nothing"
        raise UserError(f"saliency: {shlex.join(arguments)} ended with status {process.returncode}; its last lines:\n{said}")


def _started(arguments: list[str], environment: dict[str, str], stdout: IO[bytes], stderr: IO[bytes]) -> subprocess.Popen:
    try:
        return subprocess.Popen(
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(signal.SIGKILL),
        )
    except OSError as error:
        raise UserError(
            f"saliency: {arguments[0]}: cannot be started ({error.strerror}); mend `command`, with the full path of the program"
        ) from error


def _running(process: subprocess.Popen) -> bool:
    try:
        process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return True
    return False


def _end(process: subprocess.Popen) -> None:
    """Kill what is left of the command's process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def tail(path: Path) -> str:
    """The last lines of a file, read from its end."""
    with open(path, "rb") as handle:
        handle.seek(max(0, os.path.getsize(path) - TAIL_BYTES))
        text = handle.read().decode("utf-8", "replace")
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-TAIL_LINES:])
