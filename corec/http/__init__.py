"""HTTP: metrics, health, readiness and the live page; loopback unless the config says otherwise."""
