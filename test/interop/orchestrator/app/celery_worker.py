"""What runs the Orchestrator's workflows in worker mode, for celery and for the API that hands them over."""

from celery import Celery
from celery.signals import task_postrun
from orchestrator.core.db import db, init_database
from orchestrator.core.services.tasks import initialise_celery
from orchestrator.core.settings import AppSettings

settings = AppSettings()


class Worker(Celery):
    def on_init(self) -> None:
        init_database(settings)
        import workflows  # noqa: F401


# Without it a worker that resumes what it has run before goes on with the state it
# remembers, and the result that came meanwhile is not in there.
@task_postrun.connect
def forget_session(**_: object) -> None:
    db.scoped_session.remove()


celery = Worker(
    "interop-worker",
    broker=str(settings.CACHE_URI.get_secret_value()),
    include=["orchestrator.core.services.tasks"],
)
celery.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)
initialise_celery(celery)
