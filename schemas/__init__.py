"""What crosses a wire: HTTP bodies, broker records, cursors, problem codes, Symphony's vocabulary, the broker's objects as data.

No I/O, no clock, no environment: every function here gives the same answer for the same arguments.
"""
