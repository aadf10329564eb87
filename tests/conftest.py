"""Fixtures every test may use; each is explained where it is defined."""

from __future__ import annotations

import os

# before NumPy is imported anywhere: its BLAS would start threads, and CoreC forks
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

pytest_plugins = ["tests.support.servers", "tests.support.leaks", "tests.support.proxied"]
