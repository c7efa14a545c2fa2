"""The whole system under faults, from a seed: one's own workflows, or made-up ones."""

from meshline.testing.simulation.loop import NothingHappens
from meshline.testing.simulation.plan import Plan, Strike
from meshline.testing.simulation.steps import SimulatedFault
from meshline.testing.simulation.system import Report, Simulation
from meshline.testing.simulation.world import Violation

__all__ = [
    "NothingHappens",
    "Plan",
    "Report",
    "SimulatedFault",
    "Simulation",
    "Strike",
    "Violation",
]
