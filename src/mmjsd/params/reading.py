"""YAML files as people write them: YAML 1.2, in which 1e-3 is a number and `on` a word."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.constructor import ConstructorError, DuplicateKeyError, SafeConstructor
from ruamel.yaml.nodes import MappingNode, ScalarNode

from mmjsd.errors import MmjsdError

__all__ = ["read_yaml"]

_DECIMAL = re.compile("[-+]?(0|[1-9][0-9]*)")

#: How the parser's words begin -> the same for those who write no parsers.
_PLAINLY = {
    "expected <block end>": "it or a line above is indented unlike its neighbours",
    "mapping values are not allowed": (
        "a colon too many (quote texts with colons), one missing above, or indented unlike its neighbours"
    ),
    "could not find expected ':'": "a colon is missing in it or in the line above",
    "found character '\\t'": "a tab; indent by blanks",
    "found unexpected end of stream": "a quote is not closed, in it or above",
    "expected ',' or": "a bracket is not closed, or a comma is missing, in it or above",
}


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file; all keys are text, and none is given twice.

    Raises:
        FileNotFoundError: there is none.
        MmjsdError: it cannot be read, or is not valid; the line says where.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise MmjsdError(f"{path}: cannot be read as text ({reason})") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        plain = next((words for begin, words in _PLAINLY.items() if problem.startswith(begin)), problem)
        raise MmjsdError(f"{path}: not valid YAML{where}: {plain}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise MmjsdError(f"{path}: not valid YAML: a value does not fit its tag (!!...)") from None
    except RecursionError:
        raise MmjsdError(f"{path}: nested too deeply or an alias refers to itself") from None


class _Constructor(SafeConstructor):
    def construct_mapping(self, node: MappingNode, deep: bool = False) -> Any:
        for key, _ in node.value:
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                shown = key.value if isinstance(key.value, str) else "that is a list or mapping"
                problem = f"key {shown} must be text (put it in quotes)"
                raise ConstructorError(None, None, problem, key.start_mark)
        try:
            return super().construct_mapping(node, deep)
        except DuplicateKeyError as error:
            key = next(
                k for i, (k, _) in enumerate(node.value) if k.value in {o.value for o, _ in node.value[:i]}
            )
            problem = f"key {key.value!r} is given twice"
            raise ConstructorError(None, None, problem, error.problem_mark) from None

    def construct_yaml_int(self, node: ScalarNode) -> Any:
        # of 010, 0o17 and 1_000 programs read different numbers
        return super().construct_yaml_int(node) if _DECIMAL.fullmatch(node.value) else node.value


_Constructor.add_constructor("tag:yaml.org,2002:int", _Constructor.construct_yaml_int)
