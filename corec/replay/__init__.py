"""`corec replay`: time-series CSV files onto an instance's in-stream.

series    files → Series (what the file says, and what of it cannot be used)
schedule  Series + entity ids → Playback (which entity gets which value in which round), pure
frames    Playback → the bytes of stream entries, vectorised
lead      how far the publisher is ahead of the instance that reads, pure
wire      one batch of entries → Redis, exactly once
publish   batches with back-pressure, over outages
target    which server, which instance, which entities
player    the loop that ties them together, and its clock
command   the command line
"""
