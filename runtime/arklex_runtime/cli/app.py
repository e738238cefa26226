"""The commands and their options. Bodies import what they need, so that ``--help`` and ``lint`` start at once."""

from __future__ import annotations

from typing import Annotated

import typer

from arklex_runtime.cli import options
from arklex_runtime.cli.options import Form
from arklex_runtime.cli.terminal import Terminal

app = typer.Typer(
    name="arklex",
    help="Durable task graphs for AI agents: run, watch and mend them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
RUNS, FILES, OTHER = "Runs", "Manifests", "Other"


def _terminal(context: typer.Context, output: Form) -> Terminal:
    terminal: Terminal = context.obj
    terminal.json = output is Form.json
    return terminal


@app.command(rich_help_panel=RUNS)
def run(
    context: typer.Context,
    files: options.Files,
    graph: options.Graph = None,
    query: options.Query = None,
    input: options.Input = None,
    context_json: options.Context = None,
    session: options.Session = None,
    db: options.Db = None,
    output: options.Output = Form.text,
    max_workers: options.Workers = 4,
    quiet: options.Quiet = False,
    server: options.Door = None,
    namespace: options.Namespace = "default",
    token_file: options.TokenFile = None,
) -> int:
    """Run a TaskGraph and print its output: here, from files, or with --server one of the cluster's, by its name."""
    from arklex_runtime.cli.conduct import Order, run_files

    order = Order(graph, query, input, context_json, session)
    if server:
        from arklex_runtime.cli import remote

        return remote.run_there(
            _terminal(context, output), remote.Server.of(server, namespace, token_file), files, order, quiet=quiet
        )
    return run_files(_terminal(context, output), files, order, db, max_workers=max_workers, quiet=quiet)


@app.command(rich_help_panel=RUNS)
def resume(
    context: typer.Context,
    run: options.Run,
    files: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", metavar="FILE", help="Manifests whose Secrets and folder of handlers are used."),
    ] = None,
    path: options.Path = None,
    db: options.Db = None,
    output: options.Output = Form.text,
    max_workers: options.Workers = 4,
    quiet: options.Quiet = False,
) -> int:
    """Go on with a run whose process is gone. Of a run that is over, print the document."""
    from arklex_runtime.cli.conduct import resume_run

    terminal = _terminal(context, output)
    return resume_run(terminal, run, files or [], path or [], db, max_workers=max_workers, quiet=quiet)


@app.command(rich_help_panel=RUNS)
def retry(
    context: typer.Context,
    run: options.Run,
    start: Annotated[str | None, typer.Option("--from", metavar="TASK", help="Run this task, and all after it, again.")] = None,
    files: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", metavar="FILE", help="Manifests whose Secrets and folder of handlers are used."),
    ] = None,
    path: options.Path = None,
    db: options.Db = None,
    output: options.Output = Form.text,
    max_workers: options.Workers = 4,
    quiet: options.Quiet = False,
) -> int:
    """Run again what failed in a run. What succeeded is kept; it becomes a run of its own."""
    from arklex_runtime.cli.conduct import retry_run

    terminal = _terminal(context, output)
    return retry_run(terminal, run, start, files or [], path or [], db, max_workers=max_workers, quiet=quiet)


@app.command(rich_help_panel=RUNS)
def runs(
    context: typer.Context,
    phase: Annotated[str | None, typer.Option("--phase", metavar="PHASE", help="Only runs in this phase.")] = None,
    graph: Annotated[str | None, typer.Option("--graph", "-g", metavar="NAME", help="Only runs of this TaskGraph.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 50,
    db: options.Db = None,
    output: options.Output = Form.text,
    server: options.Door = None,
    namespace: options.Namespace = "default",
    token_file: options.TokenFile = None,
) -> int:
    """List runs, newest first."""
    if server:
        from arklex_runtime.cli import remote

        there = remote.Server.of(server, namespace, token_file)
        return remote.list_there(_terminal(context, output), there, phase, graph, limit)
    from arklex_runtime.cli.journal import list_runs

    return list_runs(_terminal(context, output), phase, graph, limit, db)


@app.command(rich_help_panel=RUNS)
def show(
    context: typer.Context,
    run: options.Run,
    events: Annotated[bool, typer.Option("--events", help="Every attempt, and why tasks wait.")] = False,
    picture: Annotated[str | None, typer.Option("--picture", metavar="FILE", help="Draw the run: FILE.svg or .mmd.")] = None,
    db: options.Db = None,
    output: options.Output = Form.text,
    server: options.Door = None,
    namespace: options.Namespace = "default",
    token_file: options.TokenFile = None,
) -> int:
    """Print the document of a run, wherever it runs."""
    if server:
        from arklex_runtime.cli import remote

        there = remote.Server.of(server, namespace, token_file)
        return remote.show_there(_terminal(context, output), there, run, events=events, picture=picture)
    from arklex_runtime.cli.journal import show_run

    return show_run(_terminal(context, output), run, db, events=events, picture=picture)


@app.command(rich_help_panel=RUNS)
def logs(
    context: typer.Context,
    run: options.Run,
    task: Annotated[str | None, typer.Argument(metavar="[TASK]", help="Only of this task, e.g. page[3] or child/ask.")] = None,
    db: options.Db = None,
    output: options.Output = Form.text,
    server: options.Door = None,
    namespace: options.Namespace = "default",
    token_file: options.TokenFile = None,
) -> int:
    """Print what the attempts of a run in a cluster logged, with pod and node."""
    if server:
        from arklex_runtime.cli import remote

        return remote.logs_there(_terminal(context, output), remote.Server.of(server, namespace, token_file), run, task)
    from arklex_runtime.cli.journal import show_logs

    return show_logs(_terminal(context, output), run, task, db)


@app.command(rich_help_panel=RUNS)
def cancel(
    context: typer.Context,
    run: options.Run,
    db: options.Db = None,
    output: options.Output = Form.text,
    server: options.Door = None,
    namespace: options.Namespace = "default",
    token_file: options.TokenFile = None,
) -> int:
    """Ask a run to end; its finally tasks still run. A second time ends those too."""
    if server:
        from arklex_runtime.cli import remote

        return remote.cancel_there(_terminal(context, output), remote.Server.of(server, namespace, token_file), run)
    from arklex_runtime.cli.journal import cancel_run

    return cancel_run(_terminal(context, output), run, db)


@app.command(rich_help_panel=RUNS)
def approve(
    context: typer.Context,
    run: options.Run,
    task: Annotated[str, typer.Argument(metavar="TASK", help="The approval, e.g. check or publish/check.")],
    reject: Annotated[bool, typer.Option("--reject", help="Say no.")] = False,
    data: Annotated[str | None, typer.Option("--data", metavar="JSON|@FILE", help="What is handed to the graph.")] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who decides; by default your login.")] = None,
    db: options.Db = None,
    output: options.Output = Form.text,
    server: options.Door = None,
    namespace: options.Namespace = "default",
    token_file: options.TokenFile = None,
) -> int:
    """Decide on an approval that a run waits for. The first decision stands."""
    if server:
        from arklex_runtime.cli import remote

        there = remote.Server.of(server, namespace, token_file)
        terminal = _terminal(context, output)
        return remote.approve_there(terminal, there, run, task, approved=not reject, data=data, by=by)
    from arklex_runtime.cli.journal import approve_task

    return approve_task(_terminal(context, output), run, task, db, approved=not reject, data=data, by=by)


@app.command(rich_help_panel=RUNS)
def delete(context: typer.Context, run: options.Run, db: options.Db = None, output: options.Output = Form.text) -> int:
    """Forget a run and its journal."""
    from arklex_runtime.cli.journal import delete_run

    return delete_run(_terminal(context, output), run, db)


@app.command(rich_help_panel=RUNS)
def prune(
    context: typer.Context,
    older_than: Annotated[str, typer.Option("--older-than", metavar="DURATION", help="As Go writes it: 720h.")],
    db: options.Db = None,
    output: options.Output = Form.text,
) -> int:
    """Forget old runs, and cached results whose time is up."""
    from arklex_runtime.cli.journal import prune_runs

    return prune_runs(_terminal(context, output), older_than, db)


@app.command(rich_help_panel=FILES)
def lint(context: typer.Context, files: options.Files, output: options.Output = Form.text) -> int:
    """Report all that is wrong with manifests: file, line and field."""
    from arklex_runtime.cli.checks import lint_files

    return lint_files(_terminal(context, output), files)


@app.command(rich_help_panel=FILES)
def plan(
    context: typer.Context,
    files: options.Files,
    graph: options.Graph = None,
    query: options.Query = None,
    input: options.Input = None,
    context_json: options.Context = None,
    output: options.Output = Form.text,
) -> int:
    """Print what would run, level by level. With --input or --query also the rendered inputs and conditions."""
    from arklex_runtime.cli.planning import plan_files

    return plan_files(_terminal(context, output), files, graph, query, input, context_json)


@app.command(name="graph", rich_help_panel=FILES)
def draw(
    context: typer.Context,
    files: options.Files,
    target: Annotated[str, typer.Option("--out", "-o", metavar="FILE|-", help="FILE.svg, FILE.mmd, or - for stdout.")] = "-",
    graph: options.Graph = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Mermaid on stdout instead of SVG.")] = False,
    right: Annotated[bool, typer.Option("--right", help="Lay out from left to right.")] = False,
) -> int:
    """Draw a TaskGraph."""
    from arklex_runtime.cli.checks import draw_files

    return draw_files(context.obj, files, graph, target, mermaid=mermaid, right=right)


@app.command(rich_help_panel=OTHER)
def crds(
    context: typer.Context,
    folder: Annotated[str | None, typer.Option("--out", "-o", metavar="FOLDER", help="Write files into it.")] = None,
) -> int:
    """Print the CustomResourceDefinitions."""
    from arklex_runtime.cli.checks import print_crds

    return print_crds(context.obj, folder)


@app.command(rich_help_panel=OTHER, hidden=True)
def worker(context: typer.Context) -> int:
    """Be a pod of a Worker; arklex-operator starts these."""
    from arklex_runtime.pod.main import run_worker

    return run_worker()


@app.command(rich_help_panel=OTHER, hidden=True)
def runtime(context: typer.Context) -> int:
    """Be a replica of the runtime; the chart starts these."""
    from arklex_runtime.service.main import run_runtime

    return run_runtime()


@app.command(rich_help_panel=OTHER)
def version(context: typer.Context, output: options.Output = Form.text) -> int:
    """Print the version."""
    from arklex_runtime.cli.checks import print_version

    return print_version(_terminal(context, output))
