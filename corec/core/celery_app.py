"""``celery -A corec.core.celery_app worker --loglevel=info``: runs tasks of an instance elsewhere.

Of the only instance that this user runs here, of ``COREC_INSTANCE`` where there are several, or, on
another machine, of the Redis ``COREC_REDIS_URL`` and the instance named by ``COREC_INSTANCE``.
"""

from __future__ import annotations

import sys
from typing import Final

from corec.config import ConfigError
from corec.control.discover import NoInstance, SeveralInstances

MISSING: Final = (
    "corec.core.celery_app: Celery is not installed: pip install 'corec[celery]', or bash run.sh, "
    "which installs it"
)

try:
    from corec.core.celery import make_app
    from corec.tasks.queue import where
except ModuleNotFoundError as error:
    if error.name != "celery":
        raise
    sys.exit(MISSING)

try:
    app = make_app(*where())
except (NoInstance, SeveralInstances, ConfigError, ValueError) as error:
    sys.exit(f"corec.core.celery_app: {error}")
