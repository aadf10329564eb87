"""The persister: rows and events from the lanes into PostgreSQL, each exactly once.

``batch`` and ``offsets`` decide (pure), ``encode`` and ``payload`` make bytes, ``schema``,
``partitions`` and ``writer`` speak to the server, ``process`` is the process around them.
``read`` is for users: it decodes the column ``payload``.
"""
