"""The worker process: it ticks a contiguous range of blocks; worker 0 also leads."""
