"""Where in a catalog file a thing stands: the line of an entry, or of a key deep inside it. Text in, line numbers out.

YAML's own reader knows the lines of its nodes. Python's TOML reader does not tell them, so TOML is looked through by line: for
headers, keys and brackets, in the part of the file that is left. What is not found costs precision, never the message.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import yaml

Span = tuple[int, int]  # lines [first, after), counted from 1
HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|#.*')  # strings and comments: brackets in them mean nothing


class Places(Protocol):
    """Where the things of one file stand."""

    def heads(self, section: str) -> Sequence[int]:
        """The line on which each entry of a section starts."""

    def line(self, loc: Sequence[str | int], words: Sequence[str] = ()) -> int:
        """The line of what lies at the end of a path, else of the last step that was found; of a key in it named by one of
        `words`, if there is one. 1 when nothing is known."""


def places_of(name: str, text: str) -> Places:
    """Of a file whose name says what it is."""
    return TomlPlaces(text) if name.endswith(".toml") else YamlPlaces(text)


class YamlPlaces:
    """Lines of a YAML file that could be read."""

    def __init__(self, text: str) -> None:
        self._root = yaml.compose(text, yaml.SafeLoader)

    def heads(self, section: str) -> Sequence[int]:
        found = _step(self._root, section)
        entries = found[1].value if found and isinstance(found[1], yaml.SequenceNode) else []
        return [entry.start_mark.line + 1 for entry in entries]

    def line(self, loc: Sequence[str | int], words: Sequence[str] = ()) -> int:
        line, node = 1, self._root
        for step in loc:
            if found := _step(node, step):
                line, node = found
        return next((found[0] for word in words if (found := _step(node, word))), line)


def _step(node: Any, step: str | int) -> tuple[int, Any] | None:
    """The line of a key or an item of a YAML node, and what it holds."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item.start_mark.line + 1, item
    return None


class TomlPlaces:
    """Lines of a TOML file that could be read."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._headers = list[tuple[int, str, bool]]()  # line, dotted name, whether it is an item of an array
        self._heads = defaultdict[str, list[int]](list)
        for i, line in enumerate(self._lines, 1):
            if line.lstrip().startswith("[") and (found := HEADER.match(line)) and "," not in found[2]:
                self._headers.append((i, found[2], found[1] == "[["))
                if found[1] == "[[":
                    self._heads[found[2]].append(i)

    def heads(self, section: str) -> Sequence[int]:
        return self._heads.get(section, [])

    def line(self, loc: Sequence[str | int], words: Sequence[str] = ()) -> int:
        section, *rest = loc
        index = rest.pop(0) if rest and isinstance(rest[0], int) else 0
        heads = self.heads(str(section))
        if not isinstance(index, int) or index >= len(heads):
            return next((i for i, name, _ in self._headers if name.partition(".")[0] == section), 1)
        path, span = str(section), (heads[index], self._end(heads[index], str(section)))
        for step in rest:
            path, span = self._inside(path, span, step)
        for word in words:
            if (found := self._inside(path, span, word)[1]) != span:
                return found[0]
        return span[0]

    def _end(self, line: int, path: str) -> int:
        """The line after the table that begins at `line`; tables within it are part of it."""
        later = (i for i, name, _ in self._headers if i > line and not name.startswith(f"{path}."))
        return next(later, len(self._lines) + 1)

    def _inside(self, path: str, span: Span, step: str | int) -> tuple[str, Span]:
        """One step further; the same again when it is not there to be seen, such as the kind of a union."""
        headers = [(i, name) for i, name, _ in self._headers if span[0] < i < span[1]]
        if isinstance(step, int):
            own = [i for i in self.heads(path) if span[0] <= i < span[1]]
            return path, ((own[step], self._end(own[step], path)) if step < len(own) else self._item(span, step))
        deeper = f"{path}.{step}"
        tables = [i for i, name in headers if name == deeper or name.startswith(f"{deeper}.")]
        if tables:
            return deeper, (tables[0], self._end(tables[-1], deeper))
        own_end = headers[0][0] if headers else span[1]
        key = rf'\s*["\']?{re.escape(step)}["\']?\s*[=.]'
        seeks = [re.compile(key).match]
        if not HEADER.match(self._lines[span[0] - 1]):  # a value: keys of tables in it stand anywhere in a line
            seeks.append(re.compile(rf"[{{,.]{key}").search)
        for seek in seeks:
            for i in range(span[0], own_end):
                if seek(self._lines[i - 1]):
                    return deeper, (i, self._value_end(i, own_end))
        return path, span

    def _signs(self, span: Span) -> Iterator[tuple[int, str]]:
        """Signs outside strings and comments, with their lines; a string is one sign."""
        for i in range(*span):
            bare = STRING.sub(lambda m: "" if m[0][0] == "#" else '"', self._lines[i - 1])
            yield from ((i, sign) for sign in bare if not sign.isspace())

    def _value_end(self, line: int, most: int) -> int:
        depth = 0
        for i in range(line, most):
            for _, sign in self._signs((i, i + 1)):
                depth += (sign in "[{") - (sign in "]}")
            if depth <= 0:
                return i + 1
        return most

    def _item(self, span: Span, index: int) -> Span:
        """Lines of the index-th item of the first array in the span."""
        depth, at, found = 0, 0, list[int]()
        for line, sign in self._signs(span):
            if depth == 1 and sign == ",":
                at += 1
                continue
            if depth and at == index and not (depth == 1 and sign == "]"):
                found.append(line)
            depth += (sign in "[{") - (sign in "]}")
        return (found[0], found[-1] + 1) if found else span
