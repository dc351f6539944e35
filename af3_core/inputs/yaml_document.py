"""YAML that remembers on which line each value stands.

Only YAML's data are taken: texts, numbers, true, false, null, lists and mappings, told
apart as YAML 1.2 does, so that a protein called `NO` or `12:30` stays a text.
"""

import re
from dataclasses import dataclass

import yaml

from af3_core.inputs.entry import Entry
from af3_core.job import InputError

MAX_VALUES = 1_000_000
"""Values of one document, aliases written out: a guard against documents that grow."""

_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
# Without a point it is a text: 1e10 is more often an entry of the PDB.
_NUMBER = re.compile(r"[-+]?[0-9]*\.[0-9]+([eE][-+]?[0-9]+)?")


@dataclass(frozen=True)
class YamlDocument:
    """A parsed file."""

    file: str
    value: object
    lines: dict[str, int]
    """1-based line of every value, by its path such as `pairs.bait[2]`."""

    def entry(self, path: str, value: object, allowed: str = "") -> Entry:
        """The value at a path, ready to be read or refused."""
        return Entry(self.file, self.place(path), value, allowed)

    def place(self, path: str) -> str:
        """The path with its line in front, the nearest known if it has none itself."""
        known = path
        while known and known not in self.lines:
            known = known[: max(known.rfind("."), known.rfind("["), 0)]
        line = self.lines.get(known, 1)
        return f"line {line}, {path}" if path else f"line {line}"


def parse_yaml(text: str, file: str) -> YamlDocument:
    """Reads one document.

    Raises:
        InputError: it is not YAML, or refers to itself, or a mapping has a key twice.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        found = text.splitlines()[line - 1 : line] or ["end of file"]
        allowed = f"valid YAML; the parser says: {error.problem}"
        raise InputError(file, f"line {line}", found[0], allowed) from error
    except yaml.YAMLError as error:
        raise InputError(file, "(file)", str(error), "valid YAML") from error
    except RecursionError as error:
        allowed = "YAML nested at most a few levels deep"
        raise InputError(file, "(file)", text[:40], allowed) from error
    if node is None:
        allowed = "at least one field"
        raise InputError(file, "(file)", "an empty file", allowed)
    lines: dict[str, int] = {}
    value = _Reader(file, lines).read(node, "", ())
    return YamlDocument(file, value, lines)


class _Reader:
    """Turns nodes into values, noting lines."""

    def __init__(self, file: str, lines: dict[str, int]) -> None:
        self.file, self.lines = file, lines
        self.left = MAX_VALUES

    def read(self, node: yaml.Node, path: str, above: tuple[int, ...]) -> object:
        line = node.start_mark.line + 1
        self.lines[path] = line
        self.left -= 1
        if id(node) in above or self.left < 0:
            allowed = "a value that does not contain itself"
            if self.left < 0:
                allowed = f"at most {MAX_VALUES:,} values, aliases written out"
            raise InputError(self.file, f"line {line}, {path}", "an alias", allowed)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line, path)
        above = (*above, id(node))
        if isinstance(node, yaml.SequenceNode):
            return [
                self.read(item, f"{path}[{index}]", above)
                for index, item in enumerate(node.value)
            ]
        assert isinstance(node, yaml.MappingNode)
        return self._mapping(node, path, above)

    def _mapping(
        self, node: yaml.MappingNode, path: str, above: tuple[int, ...]
    ) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                allowed = "a text as the name of a field"
                raise InputError(self.file, f"line {line}", "a list", allowed)
            key = key_node.value
            where = f"{path}.{key}" if path else key
            if key in mapping:
                allowed = "each field at most once"
                raise InputError(self.file, f"line {line}, {where}", key, allowed)
            mapping[key] = self.read(value_node, where, above)
            self.lines[where] = line
        return mapping

    def _scalar(self, node: yaml.ScalarNode, line: int, path: str) -> object:
        if not node.tag.startswith("tag:yaml.org,2002:"):
            allowed = "a text, number, list or mapping; quote a text that begins with !"
            raise InputError(self.file, f"line {line}, {path}", node.tag, allowed)
        text = node.value
        if node.style is not None:
            return text
        if text.lower() in _CONSTANTS and text in (text.lower(), text.upper()):
            return _CONSTANTS[text.lower()]
        if _INTEGER.fullmatch(text):
            return int(text)
        return float(text) if _NUMBER.fullmatch(text) else text
