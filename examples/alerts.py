"""Every alert of a running instance, printed where a mail would go.

Ctrl-C ends it; the next start goes on where this one stopped, and misses none that came meanwhile.
"""

import contextlib

import corec

with corec.attach() as instance, contextlib.suppress(KeyboardInterrupt):
    for alert in instance.alerts(group="mailer"):
        print(f"tick {alert.tick}: entity {alert.id} says {alert.valor:.2f}", flush=True)
