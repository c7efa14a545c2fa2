"""Testing workflows without a log, a database or patience; and the simulation of the system."""

from meshline.events.clock import ManualClock
from meshline.testing.run_under_test import ExceptionUnderTest, RequestRefused, RunUnderTest
from meshline.testing.simulation import Report, SimulatedFault, Simulation, Violation
from meshline.testing.stand_ins import StandIn, crash, raises
from meshline.testing.workflow_test import START, WorkflowTest

__all__ = [
    "START",
    "ExceptionUnderTest",
    "ManualClock",
    "Report",
    "RequestRefused",
    "RunUnderTest",
    "SimulatedFault",
    "Simulation",
    "StandIn",
    "Violation",
    "WorkflowTest",
    "crash",
    "raises",
]
