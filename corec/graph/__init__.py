"""The links of a graph space: read from files or generated, kept as compressed rows."""
