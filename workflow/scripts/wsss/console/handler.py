"""One line a job in place of Snakemake's own: a handler of its log records.

Until the run begins (planning, --lint, --unlock and so on) records go to the handler that was there before; so do errors
that are no job's. A job's line waits for a moment, so that it can say what comes next.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from wsss.console import lines
from wsss.console.progress import PATIENCE_SECONDS, Running, bar

TARGET_RULE = "all"  # asks for files and makes none
TICK_SECONDS = 0.5
NOT_SAID = ("Assuming unrestricted shared filesystem usage", "Config file ")
STILL_SAID = ("Nothing to be done", "Terminating processes", "Will exit after", "Trying to restart", "Error: Directory cannot be locked")
JOB_ECHO = "CalledProcessError in file "  # precedes a job's own error, and is all about the script's command
ECHOES = ("At least one job did not complete", "Exiting because a job execution failed")  # and these follow it


class Console(logging.Handler):
    """Writes the lines of a run.

    Args:
        before: the handler whose place it takes.
        where: asked at the end of a run that went well: the last line's words on where the results are.
        stream: where the lines go, by default stderr.

    Attributes:
        several: whether the jobs are of more than one dataset, so that their names say which.
    """

    def __init__(self, before: logging.Handler, where: Callable[[], str], stream: TextIO | None = None) -> None:
        super().__init__()
        self.before, self.where = before, where
        self.several = False
        self.stream = stream or sys.stderr
        self.on_terminal = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.begun = time.monotonic()
        self.running: dict[int, Running] = {}
        self.names: dict[int, str] = {}
        self.done, self.total, self.failed = 0, 0, 0
        self.held: tuple[str, float, float] | None = None  # name, seconds, and since when the line waits
        self.started: list[str] = []
        self.has_begun = self.has_bar = False
        self.last = ""
        self.stopped = threading.Event()

    # --- records

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record of Snakemake's."""
        event = str(getattr(record, "event", None) or "")
        if event == "workflow_started":
            self.has_begun = True
            threading.Thread(target=self._tick, daemon=True).start()
        elif not self.has_begun:
            if not str(record.msg).startswith(NOT_SAID):
                self.before.handle(record)
        elif handle := getattr(self, f"_on_{event}", None):
            handle(record)
        elif not event or event == "error":
            self._on_message(record)

    def _on_run_info(self, record: Any) -> None:
        stats = getattr(record, "stats", {})
        self.total = stats.get("total", 0) - stats.get(TARGET_RULE, 0)
        self._say(f"{self.total} job{'s' * (self.total != 1)}; the log of each is in logs/")

    def _on_job_info(self, record: Any) -> None:
        if record.rule_name == TARGET_RULE:
            return
        wildcards = record.wildcards if isinstance(record.wildcards, Mapping) else {}
        name = lines.job_name(record.rule_name, wildcards, several=self.several)
        log = next(iter(record.log), None)
        self.running[record.jobid] = Running(name, time.monotonic(), time.time(), log)
        self.started.append(name)

    def _on_job_finished(self, record: Any) -> None:
        self._let_go()
        job = self.running.pop(record.job_id, None)
        if job is None:
            return  # the target rule
        self.done += 1
        for line in lines.entries(job.log, {"WARNING"}) if job.log else []:
            self._say(f"{job.name}: {line}")
        self.held, self.started = (job.name, time.monotonic() - job.begun, time.monotonic()), []

    def _on_job_error(self, record: Any) -> None:
        self._let_go()
        job = self.running.pop(record.jobid, None)
        if job is None:
            return  # said with its group
        self.failed += 1
        self._say(f"{job.name} failed after {lines.duration(time.monotonic() - job.begun)}")
        if record.rule_msg:  # an executor's word, such as SLURM's
            self._say(f"  {record.rule_msg}")
        for line in lines.failure(record.log):
            self._say(line)

    def _on_message(self, record: logging.LogRecord) -> None:
        text = str(record.msg or "")
        if record.levelno < logging.WARNING and not text.startswith(STILL_SAID):
            return
        if text == self.last or JOB_ECHO in text or (self.failed and any(echo in text for echo in ECHOES)):
            return
        self.last = text
        self._let_go()
        self._clear()
        self.before.handle(record)
        if text.startswith("Nothing to be done") and (where := self.where()):
            self._say(where)

    # --- the end

    def succeeded(self) -> None:
        """The last line of a run that went well."""
        with self.lock:
            self._let_go()
            self._say(f"done in {lines.duration(time.monotonic() - self.begun)}: {self.where()}")

    def went_wrong(self) -> None:
        """The last line of one that did not."""
        with self.lock:
            self._let_go()
            what = f"{self.failed} job{'s' * (self.failed != 1)} failed, " if self.failed else "stopped, "
            self._say(f"{what}{self.done} of {self.total} done; the same command goes on from there")

    def close(self) -> None:
        """End the bar."""
        self.stopped.set()
        with self.lock:
            self._let_go()
            self._clear()
        self.before.close()
        super().close()

    # --- writing

    def _let_go(self) -> None:
        """Write the line that waits."""
        if self.held is None:
            return
        name, seconds, _ = self.held
        self.held = None
        if self.started:
            then = f"next: {lines.shortened(self.started)}"
        elif self.running:
            then = f"running: {lines.shortened(job.name for job in self.running.values())}"
        else:
            then = ""
        self._say(lines.job_line(self.done, self.total, name, seconds, then))

    def _say(self, text: str) -> None:
        self._clear()
        self._write(f"{text}\n")

    def _clear(self) -> None:
        if self.has_bar:
            self.has_bar = False
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):
            pass  # a terminal that is closed ends no run

    def _tick(self) -> None:
        while not self.stopped.wait(TICK_SECONDS):
            with self.lock:
                if self.held and time.monotonic() - self.held[2] > 2 * TICK_SECONDS:
                    self._let_go()
                if self.on_terminal:
                    self._draw()

    def _draw(self) -> None:
        now = time.monotonic()
        long = [job for job in self.running.values() if now - job.begun >= PATIENCE_SECONDS]
        if not long or self.held:
            return
        job = next((job for job in long if job.share() is not None), long[0])
        text = bar(job, now, len(self.running) - 1, os.get_terminal_size(self.stream.fileno()).columns - 1)
        self._write(f"\r\x1b[K{text}")
        self.has_bar = True
