"""Reading a parsed JSON document while remembering where each value stands.

Every check raises an `InputError` that names the file, the path inside it, the value
and, in one sentence, what is allowed there.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from reprlib import repr as short_repr

from af3_core.job import InputError

MAX_INTEGER_DIGITS = 20
"""No number of the language is longer; Python refuses to parse above 4,300."""


@dataclass(frozen=True)
class Entry:
    """One value of the document."""

    file: str
    path: str
    """Where it stands, such as `sequences[2].protein.id`; empty for the whole file."""
    value: object
    allowed: str
    """What may stand here, as a sentence."""

    def refuse(self, allowed: str | None = None) -> InputError:
        """The error to raise because this value cannot be accepted."""
        path = self.path or "(file)"
        return InputError(self.file, path, self.value, allowed or self.allowed)

    def holding(self, value: object, allowed: str | None = None) -> "Entry":
        """The same place with another value, and perhaps another sentence."""
        return replace(self, value=value, allowed=allowed or self.allowed)


class RepeatedKeys(dict):
    """A JSON object in which a key stands twice."""

    first_repeated: str


@contextmanager
def note_errors(errors: list[InputError]) -> Iterator[None]:
    """Keep refusals in `errors` and go on, so that one reading finds them all."""
    try:
        yield
    except InputError as error:
        errors.append(error)
    except ExceptionGroup as group:
        refused, other = group.split(InputError)
        if other or refused is None:
            raise
        errors.extend(flatten_errors(refused))


def flatten_errors(group: ExceptionGroup[InputError]) -> list[InputError]:
    """The single errors of nested groups, in order."""
    flat: list[InputError] = []
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            flat += flatten_errors(error)
        else:
            flat.append(error)
    return flat


def raise_errors(errors: list[InputError]) -> None:
    """Raise what was noted, if anything was."""
    if errors:
        raise ExceptionGroup("the input cannot be accepted", errors)


def parse_json(text: str, file: str) -> object:
    """The document; objects with a repeated key come as `RepeatedKeys`.

    Raises:
        InputError: if the text is not JSON, or nested too deeply to be a job.
    """
    if text.startswith("\ufeff"):
        allowed = "UTF-8 without a byte-order mark (save the file as plain UTF-8)"
        raise InputError(file, "(file)", "byte-order mark", allowed)
    try:
        document = json.loads(text, object_pairs_hook=_keep_repeats)
    except json.JSONDecodeError as error:
        place = f"(line {error.lineno}, column {error.colno})"
        found = text[error.pos : error.pos + 40] or "end of file"
        allowed = f"valid JSON; the parser says: {error.msg}"
        raise InputError(file, place, found, allowed) from error
    except RecursionError as error:
        allowed = "JSON nested at most a few levels deep"
        raise InputError(file, "(file)", text[:40], allowed) from error
    except ValueError as error:
        allowed = f"integers of at most {MAX_INTEGER_DIGITS} digits"
        raise InputError(file, "(file)", "a very long number", allowed) from error
    _refuse_lone_surrogates(text, document, file)
    return document


def _keep_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    repeated = RepeatedKeys(plain)
    keys = [key for key, _ in pairs]
    repeated.first_repeated = next(key for key in keys if keys.count(key) > 1)
    return repeated


def _refuse_lone_surrogates(text: str, document: object, file: str) -> None:
    if not re.search(r"\\u[dD][89a-fA-F]", text):
        return
    try:
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        found = error.object[error.start].encode("ascii", "backslashreplace").decode()
        allowed = "text; a surrogate escape needs its other half"
        raise InputError(file, "(file)", found, allowed) from error


def read_fields(
    entry: Entry, fields: Mapping[str, str], required: frozenset[str] = frozenset()
) -> dict[str, Entry]:
    """The fields of an object, each with the sentence that `fields` has for it."""
    if not isinstance(entry.value, dict):
        names = ", ".join(fields)
        raise entry.refuse(f"{entry.allowed}: an object with the fields {names}")
    dot = f"{entry.path}." if entry.path else ""
    if isinstance(entry.value, RepeatedKeys):
        key = entry.value.first_repeated
        path = dot + _show_key(key)
        raise InputError(entry.file, path, "(twice)", "each field at most once")
    for key, value in entry.value.items():
        if key not in fields:
            path = dot + _show_key(key)
            raise InputError(entry.file, path, value, suggest(key, fields))
    for key in fields:
        if key in required and key not in entry.value:
            raise InputError(entry.file, dot + key, "(missing)", fields[key])
    return {
        key: Entry(entry.file, dot + key, value, fields[key])
        for key, value in entry.value.items()
    }


def _show_key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]{1,60}", key) else short_repr(key)


def suggest(key: str, fields: Mapping[str, str]) -> str:
    """What to say of a field that does not exist."""
    near = difflib.get_close_matches(key, fields, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"no field of this name; {hint}there may be {', '.join(fields)}"


def read_items(entry: Entry, allowed: str) -> list[Entry]:
    """The items of a list; `allowed` is the sentence for each of them."""
    if not isinstance(entry.value, list):
        is_said = entry.allowed.startswith("a list")
        raise entry.refuse(entry.allowed if is_said else f"a list: {entry.allowed}")
    return [
        Entry(entry.file, f"{entry.path}[{index}]", value, allowed)
        for index, value in enumerate(entry.value)
    ]


def read_text(entry: Entry) -> str:
    """A string that is not empty."""
    if not isinstance(entry.value, str) or not entry.value:
        raise entry.refuse()
    return entry.value


def read_optional_text(entry: Entry | None) -> str | None:
    """A string, possibly empty; None where the field is null or absent."""
    if entry is None or entry.value is None:
        return None
    if not isinstance(entry.value, str):
        raise entry.refuse()
    return entry.value


def read_integer(entry: Entry, low: int, high: int) -> int:
    """A whole number from `low` to `high`; true, false and 1.0 are none."""
    value = entry.value
    if type(value) is not int or not low <= value <= high:
        raise entry.refuse()
    return value
