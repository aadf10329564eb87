"""What a block leaves to the next tick: values its entities sent, children it had no room for, who
wants to move.

The *post* lies behind the genes of a block, in two copies by tick parity.
Copy ``T & 1`` is what tick T left::

    0     values sent        u8, at most as many as there is room for
    8     children           u8, who found no free place in their mother's block
    16    moves              u8, who wants to go to an empty cell
    64    SEND[sends · cap]  whom and what, in the order in which it was sent
    ...   children[cap]      8 bytes for each state field in order, then the mother's id
    ...   u4[cap]            places in the block of who wants to move, in order

``corec.kernels.post`` says who writes and who reads it, and when.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from shm.layout import Counted

POST_HEAD_BYTES: Final = 64
_post = Counted(8)
POST_SENT: Final = _post(8)
POST_BORN: Final = _post(8)
POST_MOVES: Final = _post()
SEND: Final = np.dtype([("id", "<u4"), ("valor", "<f4")])
SENDS_MAX: Final = 16
"""The most that a processor may declare to send in one call."""

SEND_BYTES: Final = SEND.itemsize
