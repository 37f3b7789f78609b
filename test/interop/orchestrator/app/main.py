"""The command line of the Orchestrator, for its database."""

from orchestrator.core.cli.main import app as cli
from orchestrator.core.db import init_database
from orchestrator.core.settings import AppSettings

init_database(AppSettings())

import workflows  # noqa: E402, F401

if __name__ == "__main__":
    cli()
