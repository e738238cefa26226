"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Form(StrEnum):
    """How results are printed."""

    text = "text"
    json = "json"


Files = Annotated[list[str], typer.Argument(metavar="FILE…", help="YAML or JSON files or folders of them; - is stdin.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
Graph = Annotated[str | None, typer.Option("--graph", "-g", metavar="NAME", help="Which TaskGraph, if there are several.")]
Query = Annotated[str | None, typer.Option("--query", "-q", metavar="TEXT", help="The question, `query` in expressions.")]
Input = Annotated[
    str | None, typer.Option("--input", "-i", metavar="JSON|@FILE", help="The run's input, checked against spec.input.schema.")
]
Context = Annotated[str | None, typer.Option("--context", metavar="JSON|@FILE", help="A map, `context` in expressions.")]
Session = Annotated[str | None, typer.Option("--session", metavar="ID", help="A session that outlives the run.")]
Db = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="URL",
        envvar="ARKLEX_DB",
        help="The journal: a SQLite path or URL, or postgresql://…; by default arklex/arklex.db below $XDG_STATE_HOME.",
    ),
]
Output = Annotated[Form, typer.Option("--output", help="How results are printed on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]
Path = Annotated[list[str] | None, typer.Option("--path", metavar="FOLDER", help="One more folder to import handlers from.")]
Workers = Annotated[int, typer.Option("--max-workers", min=1, max=1000, help="Threads for handlers that are not async.")]
Door = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", envvar="ARKLEX_SERVER", help="Ask a runtime in a cluster instead of a database."),
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", metavar="NAME", help="With --server: whose runs.")]
TokenFile = Annotated[
    str | None,
    typer.Option(
        "--token-file", metavar="FILE", envvar="ARKLEX_TOKEN_FILE", help="With --server: its token, or $ARKLEX_TOKEN."
    ),
]
