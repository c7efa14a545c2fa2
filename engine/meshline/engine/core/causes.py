"""Fingerprints of causes: what failed of the same reason has the same one.

A cause is a workflow, a step, a kind, a type of error and the words of its message without what
differs from one run to the next. Ten thousand exceptions of one cause are one problem.
"""

from __future__ import annotations

import hashlib
import re

from meshline.engine.core.items import step_of
from meshline.events.requests import ERROR_TEXT_MAX, StepError

__all__ = ["cause_of", "words_in_common"]

WORDS_LENGTH_MAX = 1_000
"""Characters of a message that count, after what differs was taken out."""

_ABOUT_NO_NODE = frozenset({"trigger_conflict"})
"""Kinds whose ``about`` is the id of something, and no name out of the definition."""

_SIGN = r"(?:(?<!\w)[-+])?(?<![0-9A-Za-z])"
_PREFIX = r"(?<![0-9A-Za-z])(?:[A-Za-z]+_)?"
_URL_END = r"[^\s'\"<>()\[\]{}.,:;!?]"
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? +"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?[AaPp][Mm]\b)?"
_ZONE = r"(?: ?(?:Z|GMT|UTC)\b| ?[+-]\d\d:?\d\d\b)?"

# Each part begins where no word is under way and goes through its text once, so that the longest
# message takes no longer than its length says.
_VARYING = re.compile(
    "|".join(
        (
            rf"(?<![\w+.-])(?:[A-Za-z][\w+.-]*://|www\.)[^\s'\"<>()\[\]{{}}]*{_URL_END}",
            r"(?<![\w.+%-])[\w.+%-]+@[\w-]+(?:\.[\w-]+)*",
            # An apostrophe in a word quotes nothing; a quote that a cut left open ends there.
            r"(?<!\w)'(?:[^'\\]|\\.)*(?:'(?!\w)|(?<=…)\Z)",
            r"(?<!\w)\"(?:[^\"\\]|\\.)*(?:\"|(?<=…)\Z)",
            r"`[^`]*`|“[^”]*”|‘[^’]*’|«[^»]*»",
            rf"(?<!\w)(?:{_DAY})?(?:\d{{1,2}}[ -]{_MONTH}|{_MONTH} +\d{{1,2}},?)"
            rf"(?:[ -]\d{{4}})?(?: +{_CLOCK}{_ZONE})?(?: \d{{4}}\b)?",
            rf"(?<!\d)\d{{4}}-\d\d-\d\d(?:[T ]{_CLOCK}{_ZONE})?",
            rf"(?<![\w:.]){_CLOCK}{_ZONE}(?!\w|:\w)",
            r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])",
            r"(?<![0-9A-Za-z])0[xX][0-9A-Fa-f]+",
            rf"{_SIGN}\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)(?![0-9A-Za-z])",
            rf"{_SIGN}\d+(?:[.,]\d+)+[A-Za-z]{{0,3}}(?![0-9A-Za-z])",
            rf"{_PREFIX}[0-9A-Fa-f]{{8,}}(?![0-9A-Za-z])",
            # An id: a digit in it that a letter follows, or one that is long and has a digit.
            rf"{_SIGN}{_PREFIX}[A-Za-z]*\d+[A-Za-z][0-9A-Za-z]*",
            rf"{_PREFIX}(?=[A-Za-z]*\d)[0-9A-Za-z]{{16,}}",
            r"(?:(?<!\w)[-+])?\d+",
        )
    ),
    re.DOTALL,
)
_LIST = re.compile(r"#(?:, ?#)+")


def cause_of(workflow: str, about: str, kind: str, error: StepError | None, message: str) -> str:
    """Return a fingerprint that is equal for exceptions of the same cause.

    What a step says on purpose has a code for it: that is the cause, whatever step says it.

    Args:
        about: a node, or an item of one: all items of a step fail of the same causes.
        message: counts where there is no error.
    """
    step = "" if kind in _ABOUT_NO_NODE else step_of(about)
    if error is not None and error.business is not None:
        return _fingerprint(workflow, "", kind, error.business.code, "")
    words = words_in_common(message if error is None else error.message)
    return _fingerprint(workflow, step, kind, "" if error is None else error.type, words)


def _fingerprint(*parts: str) -> str:
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=6).hexdigest()


def words_in_common(message: str) -> str:
    """Return the message with ``#`` for what differs from one run to the next.

    That is: numbers, ids, uuids, quoted values, e-mail and web addresses, and times. Two texts
    that differ elsewhere stay different.
    """
    words = _VARYING.sub("#", message[:ERROR_TEXT_MAX])
    return " ".join(_LIST.sub("#", words).split())[:WORDS_LENGTH_MAX]
