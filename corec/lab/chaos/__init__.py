"""``corec chaos``: an instance of its own under seeded faults, and the ledger afterwards."""
