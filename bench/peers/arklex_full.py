"""arklex with synchronous FULL: each commit also survives a power failure."""

from bench.harness import main
from bench.peers.arklex import Arklex


class ArklexFull(Arklex):
    """The same with one fsync for each group of commits."""

    synchronous = "FULL"


if __name__ == "__main__":
    main(ArklexFull())
