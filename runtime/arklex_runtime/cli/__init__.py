"""The command ``arklex``: thin commands over the orchestrator and the journal; heavy imports only where they are used."""
