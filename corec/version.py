"""Which CoreC this is; ``corec.__version__`` is the same."""

__version__ = "0.2.0.dev0"  # as the build reads it ([tool.hatch.version]): it takes no annotation
