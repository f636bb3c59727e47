import ast
from pathlib import Path

import mmjsd


def test_all_that_is_written_as_json_is_json():
    """Python writes NaN and Infinity where it is not told to refuse them, and other readers refuse those."""
    calls = {
        (path.name, node.lineno): {keyword.arg for keyword in node.keywords}
        for path in Path(mmjsd.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dumps", "json.dump")
    }
    assert len(calls) > 10
    shown = {"faults.py", "chain.py", "project.py"}  # to people, and texts alone
    assert {
        where for where, keywords in calls.items() if "allow_nan" not in keywords and where[0] not in shown
    } == set()
