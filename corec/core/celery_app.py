"""``celery -A corec.core.celery_app worker --loglevel=info``: runs tasks of an instance elsewhere.

Of the only instance that this user runs here, of ``COREC_INSTANCE`` where there are several, or, on
another machine, of the Redis ``COREC_REDIS_URL`` and the instance named by ``COREC_INSTANCE``.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from corec.config import ConfigError
from corec.config.environment import REDIS_URL
from corec.control.console import redis_url
from corec.control.discover import NoInstance, SeveralInstances, find_instance

INSTANCE: Final = "COREC_INSTANCE"
MISSING: Final = (
    "corec.core.celery_app: Celery is not installed: pip install 'corec[celery]', or bash run.sh, "
    "which installs it"
)


def _where() -> tuple[str, str]:
    """The URL of the Redis, and the instance. Ends the process with one line when it is unknown."""
    name, url = os.environ.get(INSTANCE), os.environ.get(REDIS_URL)
    if name and url:
        return url, name
    try:
        found = find_instance(name)
        return redis_url(found), found.instance_id
    except (NoInstance, SeveralInstances, ConfigError) as error:
        sys.exit(f"corec.core.celery_app: {error}; or name {INSTANCE} and {REDIS_URL}")


try:
    from corec.core.celery import make_app
except ModuleNotFoundError as error:
    if error.name != "celery":
        raise
    sys.exit(MISSING)

app = make_app(*_where())
