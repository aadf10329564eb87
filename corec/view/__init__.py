"""Worlds as Python reads them: one in this process, or a running instance from outside."""
