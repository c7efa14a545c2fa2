"""The pure core: what is so (``fold``), what to say next (``decide``), and the keeper of both.

No await, no clock, no randomness, no I/O: times and epochs are handed in, bytes come out.
"""
