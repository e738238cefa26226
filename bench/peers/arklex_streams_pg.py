"""arklex, distributed, as in arklex_streams, with its journal in a PostgreSQL of its own that syncs each commit to disk."""

from __future__ import annotations

from pathlib import Path

from bench.harness import main
from bench.peers.arklex_streams import Streams
from tests.services import postgres_server


class Postgres(Streams):
    """The journal that several replicas share."""

    def journal(self, folder: Path) -> str:
        server = self._stack.enter_context(postgres_server(fsync="on"))
        return server.database("bench")


if __name__ == "__main__":
    main(Postgres())
