"""The world in plain Python, written from the documents: what CoreC is held against.

It says for a configuration, a seed, inputs with their ticks and changes with theirs what every
entity's state, every block's figures, every message, every row with its payload and every repair
is. It imports nothing of ``corec``, and of ``corec`` nothing but ``lab.chaos`` imports it, so no
mistake can be in both (``tests/oracle/test_alone.py``). Its source are ``docs/rules.md``,
``docs/entities.md``, ``docs/streams.md`` and ``docs/sql.md``: where it and the machine differ, one
of them or the document is wrong. It is slow on purpose: one line is one rule.
"""
