"""Payloads and identifiers that mean harm, or come from broken programs: seeded and endless.

For the gate's own tests, and for every place that takes something from outside.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel

__all__ = ["Hostile", "hostile_identifiers", "hostile_objects", "hostile_payloads"]

MEBIBYTE = 1024 * 1024


class Hostile(NamedTuple):
    """``name`` says what is wrong with it, or what only looks wrong."""

    name: str
    value: Any


# What stands in for one JSON value, somewhere in a payload.
FRAGMENTS: dict[str, bytes] = {
    "overlong slash": b'"\xc0\xaf"',
    "overlong nul": b'"\xc0\x80"',
    "lone continuation": b'"\x80"',
    "cut sequence": b'"\xe2\x82"',
    "surrogate in utf-8": b'"\xed\xa0\x80"',
    "beyond unicode": b'"\xf4\x90\x80\x80"',
    "latin-1": b'"M\xfcller"',
    "five byte form": b'"\xf8\x88\x80\x80\x80"',
    "ff": b"\xff",
    "nan": b"NaN",
    "infinity": b"-Infinity",
    "raw nul": b'"a\x00b"',
    "escaped nul": b'"a\\u0000b"',
    "escaped nul after backslashes": b'"\\\\\\\\\\u0000"',
    "text that looks like an escaped nul": b'"\\\\u0000"',
    "lone high": b'"\\ud800"',
    "lone low": b'"x\\udc00y"',
    "pair the wrong way round": b'"\\udc00\\ud800"',
    "pair": b'"\\ud83d\\ude00"',
    "half a pair at the end": b'"\\ud83d"',
    "noncharacter": b'"\xef\xbf\xbf\xef\xb7\x90"',
    "line separator": b'"\xe2\x80\xa8\xe2\x80\xa9"',
    "bidi marks": b'"\xe2\x80\xae\xe2\x81\xa6abc\xe2\x81\xa9"',
    "byte order mark inside": b'"\xef\xbb\xbf"',
    "control character": b'"\x1b[31m"',
    "escaped control character": b'"\\u001b[31m\\u007f"',
    "tab in a text": b'"a\tb"',
    "1e999": b"1e999",
    "-1e999": b"-1e999",
    "1e-999": b"1e-999",
    "1e308": b"1.7976931348623157e308",
    "400 digits": b"9" * 400,
    "5000 digits": b"1" * 5000,
    "long fraction": b"0." + b"3" * 500,
    "2**63": b"9223372036854775808",
    "2**64-1": b"18446744073709551615",
    "2**64": b"18446744073709551616",
    "-2**63": b"-9223372036854775808",
    "-2**63-1": b"-9223372036854775809",
    "beyond 2**53": b"9007199254740993",
    "minus zero": b"-0.0",
    "leading zero": b"007",
    "plus": b"+1",
    "hex": b"0x10",
    "bare point": b".5",
    "point without digits": b"5.",
    "key twice": b'{"a":1,"a":2}',
    "key twice, once escaped": b'{"a":1,"\\u0061":2}',
    "key twice, deeper": b'[{"x":{"k":1,"j":2,"k":1}}]',
    "key that only looks like twice": b'{"a":{"a":"a:a"},"b":"\\"a\\":1"}',
    "nul in a key": b'{"a\\u0000":1}',
    "lone surrogate in a key": b'{"\\udfff":1}',
    "__proto__": b'{"__proto__":{"admin":true},"constructor":{"prototype":1}}',
    "empty key": b'{"":{"":""}}',
    "key with quotes": b'{"\\"; DROP TABLE runs; --":"\'); --"}',
    "single quotes": b"{'a':1}",
    "unquoted key": b"{a:1}",
    "trailing comma": b"[1,2,]",
    "comment": b"[1 /* one */]",
    "undefined": b"undefined",
    "True": b"True",
    "empty list": b"[]",
    "empty object": b"{}",
    "template": b'"{{7*7}}${7*7}<script>alert(1)</script>"',
    "envelope in the data": b'{"epoch":"1","sequence":"1","causationid":"0:1","data":{}}',
    "spaces": b"  [ 1 ,\r\n\t2 ]  ",
    "backslash at the end": b'"\\"',
    "bad escape": b'"\\x41"',
    "short escape": b'"\\u00"',
    "vertical tab as space": b"[1,\x0b2]",
    "no-break space as space": b"[1,\xc2\xa02]",
    "floats that grow": b"[" + b",".join([b"1e15"] * 300) + b"]",
}

# What is a payload by itself.
WHOLE: dict[str, Callable[[Random], bytes]] = {
    "empty": lambda r: b"",
    "space": lambda r: b" \n" * r.randint(1, 9),
    "byte order mark": lambda r: b'\xef\xbb\xbf{"a":1}',
    "utf-16": lambda r: '{"a":"ü"}'.encode("utf-16"),
    "utf-32": lambda r: b'{"a":1}'.decode().encode("utf-32-le"),
    "two values": lambda r: b'{"a":1}{"a":2}',
    "json lines": lambda r: b'{"a":1}\n{"a":2}\n',
    "noise": lambda r: r.randbytes(r.randint(1, 300)),
    "nuls": lambda r: bytes(r.randint(1, 50)),
    "lists, too deep": lambda r: nested(b"[", b"]", r.choice([65, 66, 100, 1024, 1025, 20_000])),
    "lists, just not too deep": lambda r: nested(b"[", b"]", r.choice([63, 64])),
    "objects, too deep": lambda r: nested(b'{"a":', b"}", r.choice([65, 70, 1024, 1025, 9_000])),
    "objects, just not too deep": lambda r: nested(b'{"a":', b"}", 64),
    "opened, never closed": lambda r: r.choice([b"[", b'{"a":']) * r.choice([10, 1_000, 10_000]),
    "deep with a value inside": lambda r: b"[" * 65 + b"1" + b"]" * 65,
    "64 KiB": lambda r: b'"' + b"x" * (64 * 1024 - 2) + b'"',
    "64 KiB and a byte": lambda r: b'"' + b"x" * (64 * 1024 - 1) + b'"',
    "60 KB text": lambda r: json.dumps({"text": "ü" * 30_000}, ensure_ascii=False).encode(),
    "60 KB of quotes": lambda r: json.dumps({"text": '"' * 30_000}).encode(),
    "60 KB of backslashes": lambda r: b'"' + b"\\\\" * 30_000 + b'"',
    "many small values": lambda r: b"[" + b",".join([b"1"] * 32_000) + b"]",
    "many small objects": lambda r: b"[" + b",".join([b"{}"] * 21_000) + b"]",
    "many keys": lambda r: json.dumps({f"k{i}": i for i in range(4_000)}).encode(),
    "many of one key": lambda r: b'{"a":1' + b',"a":1' * 10_000 + b"}",
    "many escapes": lambda r: b'"' + b"\\u00fc" * 10_000 + b'"',
    "long integers": lambda r: b"[" + b",".join([b"12345678901234567890"] * 3_000) + b"]",
    "floats that grow too large": lambda r: b"[" + b",".join([b"1e15"] * 13_000) + b"]",
}


def nested(opened: bytes, closed: bytes, depth: int) -> bytes:
    inner = b"" if opened == b"[" else b"1"
    return opened * depth + inner + closed * depth


def ordinary(random: Random) -> bytes:
    """What a web form sends."""
    value = {
        "form_id": f"f-{random.randrange(10_000)}",
        "email": "ada@example.org",
        "company": random.choice(["Müller & Söhne", "ACME", "株式会社"]),
        "employees": random.randrange(10_000),
        "submitted_at": "2026-01-05T09:31:07.123Z",
        "tags": ["new", "eu"],
        "score": random.random(),
        "address": {"city": "Zürich", "zip": None, "primary": True},
    }
    return json.dumps(value, ensure_ascii=random.random() < 0.5).encode()


def placed(random: Random, fragment: bytes) -> bytes:
    """The fragment somewhere within an ordinary payload."""
    inner = random.choice([b"%b", b"[%b]", b'{"a":%b}', b'[1,[2,{"a":[%b,null]}]]'])
    value = inner.replace(b"%b", fragment)
    if random.random() < 0.2:
        return value
    before, colon, after = ordinary(random).partition(b":")
    return before + colon + value + b"," + b'"was":' + after.lstrip()


def mutated(random: Random) -> bytes:
    raw = bytearray(ordinary(random))
    for _ in range(random.randint(1, 4)):
        index = random.randrange(len(raw))
        how = random.randrange(4)
        if how == 0:
            raw[index] = random.randrange(256)
        elif how == 1:
            del raw[index : index + random.randint(1, 5)]
        elif how == 2:
            raw[index:index] = random.choice(list(FRAGMENTS.values()))[:50]
        else:
            del raw[max(1, index) :]
        raw = raw or bytearray(b"?")
    return bytes(raw)


def hostile_payloads(seed: int, count: int) -> Iterator[Hostile]:
    """Payloads as bytes; some only look bad, and must be let through."""
    random = Random(seed)
    yield Hostile("10 MB", b'"' + b"x" * (10 * MEBIBYTE) + b'"')
    for name, fragment in FRAGMENTS.items():
        yield Hostile(name, fragment)
    for name, make in WHOLE.items():
        yield Hostile(name, make(random))
    for _ in range(max(0, count - len(FRAGMENTS) - len(WHOLE) - 1)):
        what = random.random()
        if what < 0.55:
            name = random.choice(list(FRAGMENTS))
            yield Hostile(f"{name}, inside", placed(random, FRAGMENTS[name]))
        elif what < 0.9:
            yield Hostile("mutated", mutated(random))
        elif what < 0.95:
            yield Hostile("ordinary", ordinary(random))
        else:
            name = random.choice(list(WHOLE))
            yield Hostile(name, WHOLE[name](random))


class _Colour(Enum):
    RED = "red"
    NOTHING = float("nan")


class _Number(IntEnum):
    ONE = 1


class _Text(str):
    def __str__(self) -> str:
        raise RuntimeError("hostile")

    __repr__ = __str__


class _Dict(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("hostile")


class _List(list[Any]):
    def __iter__(self) -> Any:
        while True:
            yield 1


class _Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("hostile")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("hostile")


class _Dumps:
    def model_dump(self, **options: Any) -> Any:
        return self


class _Model(BaseModel):
    name: str = "x"
    at: datetime = datetime(2026, 1, 1)  # noqa: DTZ001 - on purpose without a zone
    anything: Any = None


@dataclass
class _Data:
    inner: Any = None


class _OwnInt(int):
    def __index__(self) -> int:
        return 2**70


def cycle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def cycle_of_models() -> Any:
    model = _Model()
    model.anything = [model]
    return model


def bomb(depth: int) -> Any:
    """2**depth values in depth objects."""
    value: Any = [1]
    for _ in range(depth):
        value = [value, value]
    return value


def deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def hostile_objects() -> Iterator[Hostile]:
    """Python objects that a program may hand in as a payload."""
    things: dict[str, Any] = {
        "list in itself": cycle(),
        "model in itself": cycle_of_models(),
        "bomb of lists": bomb(60),
        "small bomb": bomb(14),
        "bomb of data": _Data([_Data(bomb(40))] * 2),
        "as deep as may be": deep(64),
        "too deep": deep(65),
        "far too deep": deep(100_000),
        "set": {1, 2},
        "bytes": b"x",
        "datetime": datetime(2026, 1, 1),  # noqa: DTZ001
        "date": date(2026, 1, 1),
        "time": time(1, 2),
        "duration": timedelta(1),
        "decimal": Decimal("1.5"),
        "uuid": UUID(int=5),
        "model": _Model(),
        "model with nan": _Model(anything=float("nan")),
        "model with nul": _Model(name="\x00"),
        "model class": _Model,
        "dumps to itself": _Dumps(),
        "data": _Data([1]),
        "nan": float("nan"),
        "inf": float("-inf"),
        "enum": _Colour.RED,
        "enum of nan": _Colour.NOTHING,
        "int enum": _Number.ONE,
        "bool": True,
        "int subclass": _OwnInt(5),
        "2**64": 2**64,
        "2**20000": 2**20_000,
        "-2**63-1": -(2**63) - 1,
        "text subclass": _Text("x"),
        "dict subclass": _Dict(a=1),
        "endless list subclass": _List([1]),
        "object": _Hostile(),
        "objects": [_Hostile(), {"a": _Hostile()}],
        "function": print,
        "generator": (i for i in range(3)),
        "complex": 1j,
        "tuple": (1, (2, None)),
        "key 1": {1: 2},
        "key None": {None: 1},
        "key tuple": {(1, 2): 1},
        "key object": {_Hostile(): 1},
        "key text subclass": {_Text("x"): 1},
        "key nul": {"a\x00": 1},
        "key surrogate": {"\ud800": 1},
        "surrogate": "\ud800",
        "pair in halves": "\ud83d\ude00",
        "nul": {"a": ["\x00"]},
        "file name": b"caf\xe9".decode("utf-8", "surrogateescape"),
        "text of 64 KiB": "x" * (64 * 1024 - 2),
        "text of 64 KiB and one": "x" * (64 * 1024 - 1),
        "text that grows": "\x01" * 20_000,
        "text of 10 MB": "x" * (10 * MEBIBYTE),
        "many": list(range(100_000)),
        "floats": [1e15] * 3_400,
    }
    for name, value in things.items():
        yield Hostile(name, value)
        yield Hostile(f"{name}, inside", {"a": [value], "b": 1})


def hostile_identifiers() -> Iterator[Hostile]:
    """What may come where a source, a trigger id or the like is expected."""
    things: dict[str, Any] = {
        "empty": "",
        "space": " ",
        "space before": " a",
        "space after": "a ",
        "no-break space": "a\u00a0",
        "newline": "a\nb",
        "nul": "a\x00",
        "separator": "a\x1fb",
        "escape": "\x1b[2J",
        "surrogate": "\ud800",
        "bidi override": "a\u202eb",
        "zero width": "a\u200bb",
        "byte order mark": "\ufeffa",
        "private use": "\ue000",
        "unassigned": "\U000e0fff",
        "257": "x" * 257,
        "a million": "x" * 1_000_000,
        "none": None,
        "number": 7,
        "bytes": b"a",
        "list": ["a"],
        "object": _Hostile(),
        "256": "x" * 256,
        "129 of four bytes": "😀" * 129,
        "128 of four bytes": "😀" * 128,
        "128 different": "".join(chr(0x20000 + 257 * i) for i in range(128)),
        "text subclass": _Text("a"),
        "quotes": "'; DROP TABLE runs; --",
        "path": "../../etc/passwd",
        "percent": "%00%2e",
        "slash": "a/b?c#d",
        "combining": "e\u0301",
        "inner space": "a b",
        "markup": "<script>alert(1)</script>",
    }
    for name, value in things.items():
        yield Hostile(name, value)
