"""The broker: messages out of the lanes into Redis Streams, readings from streams into the inbox.

``docs/streams.md`` says what a user sees of it. ``frames`` and ``readings`` are the compiled
passes, ``positions``, ``outgoing``, ``incoming`` and ``dead`` decide without I/O, ``link`` speaks
to the server, ``process`` runs it all.
"""
