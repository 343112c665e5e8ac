"""Imports what the programs of the image import, so that Python keeps the compiled form of that.

Run in the build of the image, whose containers cannot write. All modules together would take 50 MB
more, and most of them are never imported.
"""

import os
import pkgutil
from importlib import import_module

os.environ.update(
    DATABASE_URL="postgresql://nowhere/none",
    REDIS_URL="redis://nowhere",
    AI_MOCK_MODE="false",
    OPENAI_API_KEY="none",
    IMAGE_BUCKET="none",
    AWS_DEFAULT_REGION="none",
    AWS_ACCESS_KEY_ID="none",
    AWS_SECRET_ACCESS_KEY="none",  # noqa: S106 - no password
)

PACKAGES = ("local", "shared")

PROGRAMS = (
    "alembic.command",
    "alembic.context",
    "celery.__main__",
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "celery.fixups.django",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "cli.app",
    "devkit.secret_folder",
    "flower.command",
    "kombu.transport.redis",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
)
"""What is imported by its name only, and what is a program of its own."""


def main() -> None:
    """Import all of it."""
    for name in PACKAGES:
        package = import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith("__main__") and ".migrations." not in module.name:
                import_module(module.name)
    for name in PROGRAMS:
        import_module(name)
    from local.celery_app import celery_app
    from local.worker.memory import load_job_code

    celery_app.finalize()
    load_job_code(celery_app.darkroom_settings)


if __name__ == "__main__":
    main()
