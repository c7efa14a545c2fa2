"""As much of YAML as deploy/compose.yaml uses: a reader for its test, and for nothing else.

Mappings and lists by indentation, lists in brackets, plain and quoted words, comments, anchors,
aliases and ``<<``. What is not of these is an error, so that the file stays as simple.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

__all__ = ["YamlRefused", "read_yaml"]

_KEY = re.compile(r"([A-Za-z_<][\w.<-]*):(?:\s+(.*))?")
_WORD = re.compile(r'"([^"]*)"|([^,\[\]{}"#]+)')


class YamlRefused(ValueError):
    """The file is no YAML, or more of it than is needed here."""


class _Line(NamedTuple):
    number: int
    indent: int
    text: str


def read_yaml(text: str) -> Any:
    """Return mappings as dicts, lists as lists, and every other value as text."""
    lines = [_line(number, raw) for number, raw in enumerate(text.splitlines(), 1)]
    reader = _Reader([line for line in lines if line is not None])
    value = reader.block(0)
    if reader.lines:
        raise reader.refused(reader.lines[0], "the indentation fits nothing")
    return value


def _line(number: int, raw: str) -> _Line | None:
    if "\t" in raw:
        raise YamlRefused(f"line {number}: a tab")
    text = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
    indent = len(text) - len(text.lstrip(" "))
    return _Line(number, indent, text.lstrip(" ")) if text else None


class _Reader:
    def __init__(self, lines: list[_Line]) -> None:
        self.lines = lines
        self.anchors: dict[str, Any] = {}

    def refused(self, line: _Line, why: str) -> YamlRefused:
        return YamlRefused(f"line {line.number}: {why}: {line.text!r}")

    def block(self, indent: int) -> Any:
        return self.list(indent) if self.lines[0].text.startswith("- ") else self.mapping(indent)

    def list(self, indent: int) -> list[Any]:
        items: list[Any] = []
        while self.lines and self.lines[0].indent == indent:
            line = self.lines.pop(0)
            if not line.text.startswith("- "):
                raise self.refused(line, "expected an item of the list")
            items.append(self.value(line, line.text[2:].strip()))
        return items

    def mapping(self, indent: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while self.lines and self.lines[0].indent == indent:
            line = self.lines.pop(0)
            match = _KEY.fullmatch(line.text)
            if match is None:
                raise self.refused(line, "expected a key")
            key, rest = match[1], (match[2] or "").strip()
            if key in found:
                raise self.refused(line, "the key stands twice")
            value = self.entry(line, rest, indent)
            if key == "<<":
                merged |= value
            else:
                found[key] = value
        return merged | found

    def entry(self, line: _Line, rest: str, indent: int) -> Any:
        anchor = None
        if rest.startswith("&"):
            anchor, _, rest = rest[1:].partition(" ")
        if rest:
            value = self.value(line, rest.strip())
        elif self.lines and self.lines[0].indent > indent:
            value = self.block(self.lines[0].indent)
        else:
            value = None
        if anchor:
            self.anchors[anchor] = value
        return value

    def value(self, line: _Line, text: str) -> Any:
        if text.startswith("*"):
            if text[1:] not in self.anchors:
                raise self.refused(line, "no such anchor")
            return self.anchors[text[1:]]
        if text.startswith("["):
            if not text.endswith("]"):
                raise self.refused(line, "the list is not closed")
            words = _WORD.findall(text[1:-1])
            return [quoted or plain.strip() for quoted, plain in words if quoted or plain.strip()]
        if text[0] in "{|>!%@`'" or (text[0] == '"') != (text[-1] == '"'):
            raise self.refused(line, "more YAML than this reader knows")
        return text.strip('"')
