"""What every process of an instance is: which there are (``roles``), what each holds (``runtime``),
what each does to live (``life``), how long it waits before it tries again (``backoff``), what it
tells the operator (``events``).

Nothing here knows what a process is for: that is in a package of its own for each of them.
"""
