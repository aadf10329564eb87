"""Talking to a running instance: where it is, the control socket's protocol, ``corec-ctl``."""
