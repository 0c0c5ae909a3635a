"""A whole site on one machine, as processes: for trying out, demonstrations, benchmarks and tests.

The server's rooms (distribution ``sluiceway-server``) are started as programs and never imported.
"""

from sluiceway.stack.plan import Application, StackPlan
from sluiceway.stack.processes import Program, StackError
from sluiceway.stack.stack import Stack

__all__ = ["Application", "Program", "Stack", "StackError", "StackPlan"]
