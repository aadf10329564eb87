"""A thermometer that told fahrenheit until yesterday, and tells celsius from the upgrade on.

It lies in ``plugins/`` of its project; ``corec-ctl upgrade --migrate`` has a running world go on
with it, and so has the next start with ``--migrate``.
"""

import corec


def in_celsius(old):
    """The new fields out of the old ones, NumPy arrays of a block's entities."""
    return {"celsius": (old["fahrenheit"] - 32.0) / 1.8}


@corec.micro(state={"celsius": "f4"}, migrate=in_celsius)
def thermometer(me):
    """It drifts."""
    me.celsius = me.celsius + me.random() - 0.5
    return me.celsius
