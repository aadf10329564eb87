"""The ``corec`` command."""
