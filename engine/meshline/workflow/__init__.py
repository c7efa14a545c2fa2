"""Authoring: workflows as typed Python, checked while they are written, and kept as data."""

from meshline.workflow.context import StepContext
from meshline.workflow.define import Workflow
from meshline.workflow.errors import DefinitionRefused
from meshline.workflow.limits import Retry
from meshline.workflow.loading import App, load_app
from meshline.workflow.observed import ObservedWorkflow
from meshline.workflow.outcomes import BusinessException, FailRun, RetryLater
from meshline.workflow.registry import Registry
from meshline.workflow.secret import Secret
from meshline.workflow.spec import Activity, Approval, Observation, Raised, WorkflowSpec

__all__ = [
    "Activity",
    "App",
    "Approval",
    "BusinessException",
    "DefinitionRefused",
    "FailRun",
    "Observation",
    "ObservedWorkflow",
    "Raised",
    "Registry",
    "Retry",
    "RetryLater",
    "Secret",
    "StepContext",
    "Workflow",
    "WorkflowSpec",
    "load_app",
]
