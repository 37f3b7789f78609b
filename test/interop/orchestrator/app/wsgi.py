"""The Orchestrator, for uvicorn."""

from orchestrator.core import OrchestratorCore
from orchestrator.core.settings import AppSettings

settings = AppSettings()
if settings.EXECUTOR == "celery":
    # The core's own thread that watches the workers imports it too, and Celery's package,
    # which replaces itself while it is imported, cannot be imported by two threads at once.
    import orchestrator.core.services.tasks  # noqa: F401

app = OrchestratorCore(base_settings=settings)

import workflows  # noqa: E402, F401

if settings.EXECUTOR == "celery":
    import celery_worker  # noqa: F401
