"""The original CoreC's files: what they wrote in another form, and what says nothing here.

``translated`` gives the older spellings their name of today. ``set_aside`` takes out the keys that
tune what does not exist here; ``corec check`` names them.
"""

from __future__ import annotations

from typing import Any, Final

# Its model runners, connection pools, per-task quotas, and the thresholds of its own controller.
_TOP: Final = frozenset({
    "rol", "ia_config", "analisis_datos_config", "ml_config", "autosanacion_config",
    "cognitivo_config", "quantization_step_default", "max_enlaces_por_entidad",
    "redis_stream_key", "alert_threshold", "max_fallos_criticos", "cpu_autoadjust_threshold",
    "ram_autoadjust_threshold", "concurrent_tasks_min", "concurrent_tasks_max",
    "concurrent_tasks_reduction_factor", "concurrent_tasks_increment_factor_default",
    "cpu_stable_cycles", "cpu_readings", "cpu_reading_interval", "performance_history_size",
    "performance_threshold", "increment_factor_min", "increment_factor_max",
})  # fmt: skip
_DB: Final = frozenset({"max_connections", "connection_timeout"})
_REDIS: Final = frozenset({"max_connections", "stream_max_length", "retry_interval"})
_BLOQUE: Final = frozenset({
    "plugin", "quantization_step", "max_concurrent_tasks", "cpu_intensive", "ia_timeout_seconds",
    "mutacion", "autorreplicacion",
})  # fmt: skip
_RENAMED: Final = (("modulos", "modules"),)
_DB_RENAMED: Final = (("database", "dbname"),)
_PLUGIN_PATH: Final = "path"
_PLUGIN_RENAMED: Final = (("config_path", _PLUGIN_PATH),)


def translated(raw: dict[str, Any]) -> dict[str, Any]:
    """``raw`` with the older spellings under their name of today; a key that is there under both
    names stays as it is, and is a fault like any unknown one."""
    kept = _renamed(raw, _RENAMED)
    if isinstance(kept.get("db_config"), dict):
        kept["db_config"] = _renamed(kept["db_config"], _DB_RENAMED)
    plugins = kept.get("plugins")
    if isinstance(plugins, list) and any(isinstance(one, dict) for one in plugins):
        plugins = _by_name(plugins)
    if isinstance(plugins, dict):
        plugins = {
            name: _renamed(one, _PLUGIN_RENAMED) if isinstance(one, dict) else one
            for name, one in plugins.items()
        }
    if plugins is not None:
        kept["plugins"] = plugins
    return kept


def set_aside(raw: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """``raw`` without the original's idle keys, and the paths of those that were there.

    A plugin with a configuration file of its own is one of the original's: Python code for its
    nucleus, not for this one.
    """
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
    if isinstance(kept.get("plugins"), dict):
        old = frozenset(name for name, one in kept["plugins"].items() if _is_old_plugin(one))
        kept["plugins"] = _without(kept["plugins"], old, "plugins.", ignored)
    return kept, tuple(ignored)


def _is_old_plugin(one: object) -> bool:
    return isinstance(one, dict) and isinstance(one.get(_PLUGIN_PATH), str)


def _by_name(plugins: list[Any]) -> Any:
    """A list of ``{"name": …}`` objects and names as an object; the list itself when one of them
    is something else or two are alike, which is then a fault."""
    found: dict[str, Any] = {}
    for one in plugins:
        name = one.get("name") if isinstance(one, dict) else one
        if not isinstance(name, str) or name in found:
            return plugins
        found[name] = {k: v for k, v in one.items() if k != "name"} if isinstance(one, dict) else {}
    return found


def _renamed(section: dict[str, Any], pairs: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    names = {old: new for old, new in pairs if old in section and new not in section}
    return {names.get(name, name): value for name, value in section.items()}


def _without(
    section: dict[str, Any], names: frozenset[str], path: str, ignored: list[str]
) -> dict[str, Any]:
    ignored.extend(path + name for name in section if name in names)
    return {name: value for name, value in section.items() if name not in names}
