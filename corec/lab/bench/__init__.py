"""``corec bench``: CoreC beside its rivals, measured in the same run, and checked.

``command`` is the command line; it runs each group of ``groups`` in a process of its own (``one``),
so that what a rival imports, starts or leaves behind stays with its group. A group measures its
contenders in turns (``rounds``) and returns ``results.Table``; ``render``, ``chart`` and ``readme``
show them.
"""
