"""In which order files go to the processes of pytest that run side by side.

A file is one piece of work (``--dist loadfile``: its fixtures are made once), so the long ones go
first and the short ones fill what is left at the end. Left to xdist, files of many tests would go
first, and those of few, which start an instance in each, would run on at the end beside idle cores.

Long: 15 seconds and more in a clean clone on two cores, which compiles what its tests run.
"""

from __future__ import annotations

from typing import Final

import pytest

LONGEST_FIRST: Final = (
    "tests/e2e/test_life.py",
    "tests/e2e/test_stops.py",
    "tests/entities/test_plane.py",
    "tests/oracle/test_instances.py",
    "tests/evolution/test_rules.py",
    "tests/e2e/test_changes.py",
    "tests/bootstrap/test_run_sh.py",
    "tests/checkpoint/test_running.py",
    "tests/docs/test_blocks.py",
    "tests/e2e/test_digest.py",
    "tests/view/test_examples.py",
    "tests/modules/test_running.py",
    "tests/crash/test_evening.py",
    "tests/e2e/test_every_key.py",
    "tests/e2e/test_two_starts.py",
    "tests/persister/test_spool.py",
    "tests/kernels/test_redo.py",
    "tests/tasks/test_sweep_on_celery.py",
    "tests/checkpoint/test_journal_config.py",
    "tests/control/test_ctl.py",
    "tests/oracle/test_limits.py",
    "tests/e2e/test_operator_faults.py",
    "tests/entities/test_silence.py",
    "tests/crash/test_kill_points.py",
    "tests/kernels/test_frames.py",
    "tests/crash/test_fresh.py",
    "tests/chaos/test_thermostats.py",
    "tests/entities/test_planning.py",
    "tests/entities/test_symbols.py",
    "tests/oracle/test_whole.py",
    "tests/bootstrap/test_image.py",
    "tests/tasks/test_thermostats.py",
    "tests/processors/test_detectors.py",
    "tests/crash/test_supervisor.py",
    "tests/entities/test_forms.py",
    "tests/security/test_other_user.py",
    "tests/processors/test_built_in.py",
    "tests/crash/test_grow.py",
    "tests/entities/test_lives.py",
    "tests/chaos/test_chaos.py",
    "tests/oracle/test_kernels.py",
    "tests/e2e/test_restored.py",
    "tests/persister/test_kill.py",
    "tests/crash/test_losses.py",
    "tests/entities/test_neighbours.py",
    "tests/control/test_socket.py",
    "tests/persister/test_gaps.py",
    "tests/e2e/test_input.py",
    "tests/bench/test_bench.py",
    "tests/e2e/test_refused.py",
    "tests/entities/test_draws.py",
    "tests/e2e/test_terminals.py",
    "tests/persister/test_refusals.py",
    "tests/crash/test_damaged.py",
    "tests/e2e/test_ledger.py",
    "tests/replay/test_command.py",
    "tests/security/test_secrets_shown.py",
    "tests/e2e/test_command_line.py",
    "tests/embedded/test_postgres.py",
    "tests/crash/test_set.py",
    "tests/e2e/test_control.py",
    "tests/crash/test_processors.py",
    "tests/view/test_attach.py",
    "tests/e2e/test_counters.py",
    "tests/crash/test_journal.py",
    "tests/crash/test_lost_again.py",
    "tests/crash/test_parking.py",
    "tests/broker/test_versions.py",
    "tests/tasks/test_celery.py",
    "tests/entities/test_anybody.py",
    "tests/tasks/test_messages.py",
    "tests/entities/test_graph.py",
    "tests/checkpoint/test_restore_kills.py",
    "tests/crash/test_wrap.py",
    "tests/evolution/test_running.py",
    "tests/crash/test_clock.py",
    "tests/e2e/test_away.py",
    "tests/e2e/test_migrated.py",
    "tests/crash/test_frozen.py",
    "tests/checkpoint/test_file.py",
    "tests/crash/test_embedded.py",
    "tests/embedded/test_orphans.py",
    "tests/control/test_anywhere.py",
    "tests/model/test_posts.py",
    "tests/model/test_journal.py",
    "tests/model/test_model.py",
    "tests/model/test_phase.py",
)

_PLACE: Final = {name: k for k, name in enumerate(LONGEST_FIRST)}


def longest_first(items: list[pytest.Item]) -> None:
    """Sort tests by their files; those of one file keep their order, and so do the other files."""
    items.sort(key=lambda item: _PLACE.get(item.nodeid.partition("::")[0], len(_PLACE)))
