"""Built-in processors: small, documented with formula and source, and examples to start from."""
