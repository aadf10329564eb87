"""What entered each tick: its file (``file``), and a stretch of it to run again (``past``)."""
