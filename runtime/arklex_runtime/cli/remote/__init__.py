"""The commands that speak to a runtime's HTTP door instead of a database: ``--server URL``."""

from arklex_runtime.cli.remote.client import Server as Server
from arklex_runtime.cli.remote.commands import approve_there as approve_there
from arklex_runtime.cli.remote.commands import cancel_there as cancel_there
from arklex_runtime.cli.remote.commands import list_there as list_there
from arklex_runtime.cli.remote.commands import logs_there as logs_there
from arklex_runtime.cli.remote.commands import run_there as run_there
from arklex_runtime.cli.remote.commands import show_there as show_there
