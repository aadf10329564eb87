"""The world: its plan, its making, its digest and its checkpoints."""
