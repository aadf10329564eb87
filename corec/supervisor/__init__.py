"""The supervisor: makes or adopts the world, starts servers and processes, keeps them alive."""
