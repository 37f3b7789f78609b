"""The Orchestrator, for uvicorn."""

from orchestrator.core import OrchestratorCore
from orchestrator.core.settings import AppSettings

settings = AppSettings()
app = OrchestratorCore(base_settings=settings)

import workflows  # noqa: E402, F401

if settings.EXECUTOR == "celery":
    import celery_worker  # noqa: F401
