"""The Orchestrator, for uvicorn."""

from orchestrator.core import OrchestratorCore
from orchestrator.core.settings import AppSettings

app = OrchestratorCore(base_settings=AppSettings())

import workflows  # noqa: E402, F401
