"""What CoreC is measured against; each module imports its own package (``loading``)."""
