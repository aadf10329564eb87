"""Every metric of ``/metrics``: name, type, labels and meaning, in the order of exposition.

``docs/metrics.md`` says the same to operators; a test compares the two. No label takes the id of an
entity or a block, so the number of series depends on the configuration only.
"""

from __future__ import annotations

from typing import NamedTuple


class Described(NamedTuple):
    """One metric: its type (``counter``, ``gauge``, ``histogram``), labels and meaning."""

    kind: str
    labels: tuple[str, ...]
    help: str


METRICS: dict[str, Described] = {
    "corec_info": Described(
        "gauge", ("instance_id", "version", "python"), "Always 1; the labels say what runs."
    ),
    "corec_entities": Described("gauge", (), "Entities in the world."),
    "corec_blocks": Described("gauge", (), "Blocks in the world."),
    "corec_paused": Described("gauge", (), "1 while the world is paused."),
    "corec_uptime_seconds": Described("gauge", (), "Time since this instance started."),
    "corec_tick": Described("gauge", (), "The last tick that every worker has committed."),
    "corec_tick_hz": Described(
        "gauge", (), "Ticks a second that are wanted; 0: as many as possible."
    ),
    "corec_achieved_tick_hz": Described(
        "gauge", (), "Ticks a second over the last ten seconds or more."
    ),
    "corec_ticks_total": Described("counter", ("worker",), "Ticks that the worker committed."),
    "corec_entity_updates_total": Described(
        "counter", ("worker",), "Entity updates that the worker made."
    ),
    "corec_entity_failures_total": Described(
        "counter", ("worker",), "Failed entity updates of the worker."
    ),
    "corec_entity_repairs_total": Described(
        "counter", ("worker",), "Entities that the worker repaired."
    ),
    "corec_tick_duration_seconds": Described(
        "histogram", ("worker",), "Time one worker took for one tick."
    ),
    "corec_tick_overruns_total": Described(
        "counter", (), "Deadlines of tick_hz that no tick started in time for."
    ),
    "corec_worker_busy_seconds_total": Described(
        "counter", ("worker",), "Time spent inside tick kernels."
    ),
    "corec_worker_wait_seconds_total": Described(
        "counter", ("worker",), "Time a worker waited for room in its lanes."
    ),
    "corec_lane_used_bytes": Described(
        "gauge", ("worker", "lane"), "Bytes published in a lane and not yet taken over."
    ),
    "corec_lane_capacity_bytes": Described("gauge", ("worker", "lane"), "Size of a lane."),
    "corec_rows_persisted_total": Described(
        "counter", (), "Rows committed in PostgreSQL for this world."
    ),
    "corec_rows_dropped_total": Described(
        "counter", (), "Rows dropped because the spool was full (persist.on_full)."
    ),
    "corec_persist_lag_ticks": Described(
        "gauge", (), "Ticks committed in memory and not yet durable in PostgreSQL."
    ),
    "corec_spool_bytes": Described("gauge", (), "Bytes waiting on disk for the database."),
    "corec_messages_out_total": Described(
        "counter", ("canal",), "Messages written to out-streams for this world."
    ),
    "corec_messages_in_total": Described(
        "counter", ("canal",), "Readings taken from in-streams for this world."
    ),
    "corec_messages_dead_total": Described(
        "counter", ("canal",), "Input that was not understood and went to the dead stream."
    ),
    "corec_messages_dropped_total": Described(
        "counter",
        (),
        "Messages dropped (streams.on_full) or lost by Redis after it confirmed them.",
    ),
    "corec_input_lost_entries_total": Described(
        "counter", (), "Input entries trimmed or deleted before they were read."
    ),
    "corec_alerts_raised_total": Described(
        "counter", (), "Alerts raised (with alertas or tasks in the configuration)."
    ),
    "corec_alerts_open": Described("gauge", (), "Alerts raised and not cleared."),
    "corec_tasks_done_total": Described("counter", (), "Tasks that went well."),
    "corec_task_retries_total": Described("counter", (), "Calls of tasks that failed and wait."),
    "corec_tasks_failed_total": Described("counter", (), "Tasks that failed for good."),
    "corec_tasks_waiting": Described("gauge", (), "Notices taken by tasks and not done yet."),
    "corec_sink_up": Described("gauge", ("sink",), "1 while the server can be reached."),
    "corec_process_restarts_total": Described(
        "counter", ("role", "index"), "Restarts of a process by the supervisor."
    ),
    "corec_process_up": Described("gauge", ("role", "index"), "1 while the process runs."),
    "corec_process_parked": Described(
        "gauge", ("role", "index"), "1 while a process that dies at once again and again is parked."
    ),
    "corec_process_resident_memory_bytes": Described(
        "gauge", ("role", "index"), "Resident memory, shared pages counted in full."
    ),
    "corec_swarm_fitness": Described("gauge", ("swarm",), "Mean fitness of a swarm's blocks."),
    "corec_swarm_umbral": Described("gauge", ("swarm",), "Mean umbral of a swarm's blocks."),
    "corec_births_total": Described(
        "counter", ("swarm",), "Births since tick 0, of swarms whose entities are mortal."
    ),
    "corec_deaths_total": Described("counter", ("swarm",), "Deaths since tick 0."),
    "corec_births_without_place_total": Described(
        "counter", ("swarm",), "Children who found no place and were not born."
    ),
    "corec_moves_total": Described("counter", ("swarm",), "Moves to an empty cell."),
    "corec_sends_total": Described(
        "counter", ("swarm",), "Values that entities of the swarm sent to others."
    ),
    "corec_sends_undelivered_total": Described(
        "counter", ("swarm",), "Values beyond what a block may send, or for one that did not run."
    ),
    "corec_evolution_generation": Described(
        "gauge", ("swarm",), "Evolutions of a swarm with genes since tick 0."
    ),
    "corec_evolution_best": Described("gauge", ("swarm",), "Best fitness before the last one."),
    "corec_evolution_mean": Described("gauge", ("swarm",), "Mean fitness before the last one."),
    "corec_evolution_diversity": Described(
        "gauge", ("swarm",), "Mean deviation of the genes before it, as a share of their range."
    ),
    "corec_evolution_children_total": Described(
        "counter", ("swarm",),
        "Children, migrants, and who took over in a fusion or division, since tick 0.",
    ),
}
