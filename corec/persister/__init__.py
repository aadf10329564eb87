"""The persister: rows and events from the lanes into PostgreSQL, each exactly once.

``batch`` and ``offsets`` decide (pure), ``bulk`` (compiled: ``walk``) takes rows out of the lanes,
``encode`` and ``payload`` (compiled: ``text``) make bytes of them, ``stream`` and ``ahead`` do so
before their turn.  ``schema``, ``partitions``, ``worlds``, ``retention`` and ``writer`` speak to
the server, ``upkeep`` looks after the partitions, ``process`` is the process around them all.
``preflight`` says before a start whether a database is of use.
``read`` is for users: it decodes the column ``payload``.
"""
