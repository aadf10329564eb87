"""Keys of the original CoreC's files that say nothing here: accepted, set aside and reported."""

from __future__ import annotations

from typing import Any

# The original's own files carry these; what they set belongs to parts that do not exist here
# (its Python model runners, its connection pools, its per-task quotas).
_TOP = frozenset(
    {
        "rol",
        "ia_config",
        "analisis_datos_config",
        "ml_config",
        "autosanacion_config",
        "cognitivo_config",
    }
)
_DB = frozenset({"max_connections", "connection_timeout"})
_REDIS = frozenset({"max_connections", "stream_max_length", "retry_interval"})
_BLOQUE = frozenset(
    {
        "plugin",
        "quantization_step",
        "max_concurrent_tasks",
        "cpu_intensive",
        "ia_timeout_seconds",
        "mutacion",
        "autorreplicacion",
    }
)


def set_aside(raw: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """``raw`` without the original's idle keys, and the paths of those that were there."""
    ignored: list[str] = []
    kept = _without(raw, _TOP, "", ignored)
    for section, names in (("db_config", _DB), ("redis_config", _REDIS)):
        if isinstance(kept.get(section), dict):
            kept[section] = _without(kept[section], names, f"{section}.", ignored)
    if isinstance(kept.get("bloques"), list):
        kept["bloques"] = [
            _without(bloque, _BLOQUE, f"bloques[{index}].", ignored)
            if isinstance(bloque, dict)
            else bloque
            for index, bloque in enumerate(kept["bloques"])
        ]
    return kept, tuple(ignored)


def _without(
    section: dict[str, Any], names: frozenset[str], path: str, ignored: list[str]
) -> dict[str, Any]:
    ignored.extend(path + name for name in section if name in names)
    return {name: value for name, value in section.items() if name not in names}
