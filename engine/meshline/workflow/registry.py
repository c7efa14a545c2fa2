"""The definitions that a worker knows: by name and version, and by the trigger that starts them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshline.workflow.define import Definition
from meshline.workflow.errors import RegistryConflict
from meshline.workflow.silence import silence_of
from meshline.workflow.spec import WorkflowSpec

__all__ = ["Registry"]


class Registry:
    """A set of definitions. Several versions stand side by side; the newest takes new triggers.

    One with ``silent_after`` brings along that which is about the silence of its source.
    """

    def __init__(self, *workflows: WorkflowSpec | Definition) -> None:
        self._specs: dict[tuple[str, int], WorkflowSpec] = {}
        self._newest: dict[str, WorkflowSpec] = {}
        self._by_trigger: dict[tuple[str, str], WorkflowSpec] = {}
        self._by_source: dict[str, list[WorkflowSpec]] = {}
        self.add(*workflows)

    def __iter__(self) -> Iterator[WorkflowSpec]:
        """By name, then by version."""
        return iter(self._specs[key] for key in sorted(self._specs))

    def __len__(self) -> int:
        return len(self._specs)

    def add(self, *workflows: WorkflowSpec | Definition) -> None:
        """Add definitions, all of them or none; one that is known already changes nothing.

        Raises:
            RegistryConflict: two definitions have one name and version and are not the same, or
                the newest versions of two workflows are started by one trigger.
        """
        specs = dict(self._specs)
        for spec in _with_silences(workflows):
            known = specs.setdefault((spec.name, spec.version), spec)
            if known.spec_hash != spec.spec_hash:
                raise RegistryConflict(
                    f"Workflow {spec.name!r} version {spec.version} has two definitions "
                    f"({known.spec_hash} and {spec.spec_hash}): expected one, because runs stay on "
                    f"their version. Write version={spec.version + 1} in the changed one."
                )
        newest = {name: spec for (name, _), spec in sorted(specs.items())}
        self._by_trigger = _claims(newest)
        self._specs, self._newest = specs, newest
        self._by_source = {}
        for spec in newest.values():
            self._by_source.setdefault(spec.source, []).append(spec)

    def spec(self, name: str, version: int) -> WorkflowSpec | None:
        return self._specs.get((name, version))

    def newest(self, name: str) -> WorkflowSpec | None:
        return self._newest.get(name)

    def for_trigger(self, source: str, trigger_type: str) -> WorkflowSpec | None:
        """Return what the trigger starts; an empty type will do if the source starts only one."""
        if trigger_type:
            return self._by_trigger.get((source, trigger_type))
        started = self._by_source.get(source, [])
        return started[0] if len(started) == 1 else None

    def trigger_types(self, source: str) -> tuple[str, ...]:
        """Return the types that the source can send; none: nothing is started from there."""
        return tuple(sorted(spec.trigger_type for spec in self._by_source.get(source, [])))


def _with_silences(workflows: Iterable[WorkflowSpec | Definition]) -> Iterator[WorkflowSpec]:
    for workflow in workflows:
        spec = workflow.spec if isinstance(workflow, Definition) else workflow
        yield spec
        silence = silence_of(spec)
        if silence is not None:
            yield silence


def _claims(newest: dict[str, WorkflowSpec]) -> dict[tuple[str, str], WorkflowSpec]:
    claims: dict[tuple[str, str], WorkflowSpec] = {}
    for spec in newest.values():
        other = claims.setdefault((spec.source, spec.trigger_type), spec)
        if other is not spec:
            raise RegistryConflict(
                f"Workflows {other.name!r} and {spec.name!r} are both started by "
                f"{spec.trigger_type!r} from {spec.source!r}: expected one, because a trigger is "
                "one run. Give one of them another source= or trigger_type=."
            )
    return claims
