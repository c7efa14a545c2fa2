"""``meshline doctor``: is everything as it must be, and what to do about what is not."""

from __future__ import annotations

from meshline.cli.call import Call, command, end, group
from meshline.cli.diagnosis import Finding, diagnose
from meshline.cli.exits import Exit
from meshline.cli.tables import Column

__all__ = ["app"]

app = group("Is everything as it must be? What to do if not.")

COLUMNS = (
    Column("", lambda f: f.status, stateful=True),
    Column("what", lambda f: f.about, whole=True),
    Column("found", lambda f: f.found),
    Column("do", lambda f: f.do),
)


@command(app)
async def doctor(call: Call) -> None:
    """Look whether log, views and machine are as they must be, and say what to do if not.

    Ends with 1 if something is wrong, with 5 if the log can't be reached.

    \b
    Examples:
      meshline doctor
      meshline doctor --log kafka://broker:9092/production --views postgresql://db/views
      meshline doctor --output jsonl | jq 'select(.status != "ok")'
    """
    findings = await diagnose(call)
    call.out.rows(findings, COLUMNS)
    wrong = sum(finding.status == "error" for finding in findings)
    doubtful = sum(finding.status == "warning" for finding in findings)
    call.out.say(f"{wrong} wrong, {doubtful} to look at, {len(findings) - wrong - doubtful} well.")
    end(_exit(findings))


def _exit(findings: list[Finding]) -> Exit:
    if any(f.status == "error" and f.about == "log" for f in findings):
        return Exit.UNREACHABLE
    return Exit.FAILED if any(f.status == "error" for f in findings) else Exit.OK
