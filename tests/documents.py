"""Markdown documents played as a reader would: files are written, commands run in a shell, and what they print compared.

In a document, a fence ``yaml NAME`` (or python, json) is a file; a fence ``console`` holds commands after ``$ `` and below each
what it prints, as in a pipe. A command that ends with ``&`` goes on until ``fg`` or ``kill -9 %1``. ``console not-run`` is only
read. Each ``##`` section is played by itself, with all files of the document. What differs from run to run (ids, times,
durations, keys, pids) counts as equal.

``python -m tests.documents FILE…`` plays the documents and puts what came out into the sections where it is something else.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60
"""Seconds after which a command counts as hung."""
PORT = "8080"
"""The port of the service that the documents' tools call; a free one takes its place."""
_FENCE = re.compile(r"^```(?P<language>\w*) ?(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n", re.MULTILINE)
_RUN = re.compile(r"\b[a-z][a-z0-9-]*-[0-9a-v]{16}\b")
_PASSING = re.compile(r"\S+ (Running|Retrying|Waiting)\b.*")
_SAME = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME"),
    (re.compile(r"\b\d+ m \d\d s\b|\b\d+(\.\d)? m?s\b"), "TOOK"),
    (re.compile(r"\b[0-9a-f]{32,64}\b"), "KEY"),
    (re.compile(r"\bpid \d+\b"), "pid N"),
    (re.compile(r"\bowner \d+-\w+\b"), "owner X"),
    (re.compile(r"^\S+: line \d+: +\d+ Killed .*"), "Killed"),
    (re.compile(r"  +"), " "),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; ``section`` is the ``##`` heading that it stands below, ``start`` where its text starts."""

    language: str
    info: str
    text: str
    section: str
    start: int


@dataclass(frozen=True, slots=True)
class Step:
    """A command of a document and what it is said to print, from ``start`` to ``end`` of the document."""

    command: str
    shown: list[str]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Printed:
    """What a command printed, line by line."""

    out: list[str]
    err: list[str]

    @property
    def lines(self) -> list[str]:
        return [*self.err, *self.out]


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a document."""
    found = []
    for match in _FENCE.finditer(text):
        headings = re.findall(r"^## (.*)$", _FENCE.sub("", text[: match.start()]), re.MULTILINE)
        section = headings[-1] if headings else ""
        found.append(Block(match["language"], match["info"], match["text"], section, match.start("text")))
    return found


def steps(block: Block) -> list[Step]:
    """The commands of a console block."""
    starts = list(_COMMAND.finditer(block.text))
    ends = [match.start() for match in starts[1:]] + [len(block.text)]
    return [
        Step(match[1], block.text[match.end() : end].splitlines(), block.start + match.start(), block.start + end)
        for match, end in zip(starts, ends, strict=True)
    ]


def sections(text: str) -> dict[str, list[Step]]:
    """The commands to play, by section."""
    found: dict[str, list[Step]] = {}
    for block in blocks(text):
        if block.language == "console" and block.info != "not-run":
            found.setdefault(block.section, []).extend(steps(block))
    return found


class Job:
    """A command in a shell."""

    def __init__(self, folder: Path, environ: dict[str, str], command: str) -> None:
        printed = Path(tempfile.mkdtemp(prefix=".printed-", dir=folder))
        self._files = (printed / "out", printed / "err")
        with self._files[0].open("w") as out, self._files[1].open("w") as err:
            self._process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._seen = Printed([], [])

    def _news(self) -> Printed:
        out, err = (file.read_text().splitlines() for file in self._files)
        return Printed(out[len(self._seen.out) :], err[len(self._seen.err) :])

    def until(self, shown: set[str]) -> Printed:
        """What it printed once all of ``shown`` is there, or once it is over."""
        deadline = time.monotonic() + PATIENCE
        while not shown <= {same(line) for line in self._news().lines} and self._process.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
            time.sleep(0.02)
        self._seen = self._news()
        return self._seen

    def end(self) -> Printed:
        """What it printed until its end, as far as it was not seen yet."""
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        return self._news()

    def kill(self) -> None:
        """Kill it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Desk:
    """A folder with the files of a document and the repository's examples, and a terminal in it."""

    def __init__(self, folder: Path, text: str, port: str) -> None:
        self.folder = folder
        self._port = port
        self._runs: dict[str, str] = {}
        self._job: Job
        self._environ = _environment(folder)
        (folder / "examples").symlink_to(ROOT / "examples")
        for block in blocks(text):
            if block.info and block.language != "console":
                target = folder / block.info
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text.replace(f":{PORT}", f":{port}"))

    def command(self, step: Step) -> str:
        """The step's command with the ids of real runs: those printed where the document shows its own, else the last ones."""
        latest = {real.rpartition("-")[0]: real for real in self._runs.values()}
        return _RUN.sub(lambda run: self._runs.get(run[0]) or latest.get(run[0].rpartition("-")[0], run[0]), step.command)

    def play(self, step: Step) -> Printed:
        """Run the step's command."""
        command = self.command(step).replace(f":{PORT}", f":{self._port}")
        if command == "kill -9 %1":
            self._job.kill()
            return Printed([], [])
        if command == "fg":
            printed = self._job.end()
        elif command.endswith("&"):
            self._job = Job(self.folder, self._environ, command.removesuffix("&"))
            printed = self._job.until({same(line) for line in step.shown})
        else:
            printed = Job(self.folder, self._environ, command).end()
        printed = Printed(
            *([line.replace(f":{self._port}", f":{PORT}") for line in part] for part in (printed.out, printed.err))
        )
        known = set(self._runs.values())
        real = [run for run in dict.fromkeys(_RUN.findall("\n".join(printed.lines))) if run not in known]
        shown = [run for run in dict.fromkeys(_RUN.findall("\n".join(step.shown))) if run not in self._runs]
        self._runs.update(zip([*shown, *real[len(shown) :]], real, strict=False))
        return printed


def _environment(folder: Path) -> dict[str, str]:
    programs = folder / ".programs"
    programs.mkdir()
    for name, words in (("arklex", "-m arklex_runtime.cli "), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        (programs / name).chmod(0o755)
    return {
        "PATH": os.pathsep.join([str(programs), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / ".state"),
        "USER": "ada",
        "LOGNAME": "ada",
    }


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def desk(text: str) -> Iterator[Desk]:
    """A desk for ``text``, whose files are also served over HTTP."""
    with tempfile.TemporaryDirectory() as folder:
        serve = functools.partial(_Files, directory=folder)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield Desk(Path(folder), text, str(server.server_port))
            finally:
                server.shutdown()


def same(text: str) -> str:
    """``text`` without what differs from run to run."""
    text = _RUN.sub(lambda match: match[0].rpartition("-")[0] + "-ID", text)
    for pattern, word in _SAME:
        text = pattern.sub(word, text)
    return text.rstrip()


def difference(step: Step, printed: Printed) -> str | None:
    """What a command printed else than shown, None if nothing. Progress (stderr) may come in any order, results may not."""
    progress = Counter(same(line) for line in printed.err if not _PASSING.fullmatch(line))
    results = []
    for line in (same(line) for line in step.shown if not _PASSING.fullmatch(line)):
        if progress[line]:
            progress[line] -= 1
        else:
            results.append(line)
    if results == [same(line) for line in printed.out] and not progress.total():
        return None
    return "\n".join(["", f"$ {step.command}", "--- shown", *step.shown, "--- printed", *printed.lines])


def rewritten(text: str) -> str:
    """The document with what its commands print now, in the sections where that is something else."""
    changes: list[tuple[Step, str]] = []
    for found in sections(text).values():
        with desk(text) as place:
            played = [(step, place.command(step), place.play(step)) for step in found]
        if any(difference(step, printed) for step, _, printed in played):
            changes += [(step, "\n".join([f"$ {command}", *printed.lines, ""])) for step, command, printed in played]
    for step, new in sorted(changes, key=lambda change: -change[0].start):
        text = text[: step.start] + new + text[step.end :]
    return text


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(rewritten(path.read_text()))
