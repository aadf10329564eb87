"""Modules of the nucleus: what runs beside each other on its event loop."""
