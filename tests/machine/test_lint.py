"""The subset's rules, each broken once; and the kernel itself, which keeps them."""

import pathlib

import pytest

import entresol.kernel
from entresol.machine.lint import lint_files

KERNEL = pathlib.Path(entresol.kernel.__file__).parent


def problems(body: str, folder: pathlib.Path, before: str = "") -> list[str]:
    lines = "\n".join("    " + line for line in body.splitlines())
    path = folder / "kernel.py"
    path.write_text(f"{before}\n@kernel_function\ndef function(x, y):\n{lines}\n")
    return [problem.message for problem in lint_files([path])]


def test_kernel_keeps_the_rules() -> None:
    paths = [path for path in sorted(KERNEL.rglob("*.py")) if path.name != "subset.py"]
    assert len(paths) > 20
    assert [str(problem) for problem in lint_files(paths)] == []


BROKEN = {
    "float": ("return x + 0.5", "not an integer"),
    "true division": ("return x / y", "true division"),
    "power": ("return x ** 2", "operator"),
    "floor division by a variable": ("return x // y", "division by a variable"),
    "remainder by a variable": ("x %= y\nreturn x", "division by a variable"),
    "shift by 64": ("return x << 64", "below 64"),
    "try": ("try:\n    x = 1\nexcept ValueError:\n    x = 2\nreturn x", "try"),
    "raise": ("raise ValueError", "raise"),
    "assert": ("assert x > 0\nreturn x", "assert"),
    "list": ("z = [x, y]\nreturn z[0]", "a list"),
    "dictionary": ("return {1: x}[1]", "a dictionary"),
    "set": ("return 1 if x in {1, 2} else 0", "a set"),
    "comprehension": ("return sum(i for i in range(x))", "a generator"),
    "string": ("return 'text'", "not an integer"),
    "slice": ("x[:8] = 0\nreturn y", "a slice"),
    "nested function": ("def inner():\n    return 1\nreturn inner()", "a nested function"),
    "for over a tuple": ("for i in (1, 2):\n    x += i\nreturn x", "range"),
    "for with else": ("for i in range(3):\n    x += i\nelse:\n    x = 1\nreturn x", "else"),
    "keywords": ("return max(x, y, default=1)", "position"),
    "print": ("print(x)\nreturn x", "print"),
    "recursion": ("return function(x - 1, y)", "recursion"),
    "unassigned after if": ("if x > 0:\n    z = 1\nreturn z", "'z'"),
    "unassigned after a loop": ("for i in range(x):\n    z = i\nreturn z", "'z'"),
    "loop variable after a loop": ("for i in range(x):\n    y += i\nreturn i", "'i'"),
    "unassigned in one branch": (
        "if x > 0:\n    z = 1\nelif x < 0:\n    z = 2\nelse:\n    w = 3\nreturn z", "'z'"),
    "unassigned at one break": (
        "while True:\n    if x > 3:\n        break\n    z = 1\n    x += z\nreturn z", "'z'"),
    "augmented before assignment": ("z += 1\nreturn z", "'z'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_rule(name: str, tmp_path: pathlib.Path) -> None:
    body, message = BROKEN[name]
    found = problems(body, tmp_path)
    assert any(message in problem for problem in found), found


KEPT = {
    "branches that both assign": "if x > 0:\n    z = 1\nelse:\n    z = 2\nreturn z",
    "branches that leave": "if x > 0:\n    z = 1\nelse:\n    return 0\nreturn z",
    "endless loop with one break": (
        "while True:\n    z = x\n    if z > 3:\n        break\n    x += 1\nreturn z"),
    "constant division": "return x // 64 + y % LEVELS",
    "loop": "z = 0\nfor i in range(x):\n    if i == 3:\n        continue\n    z += i\nreturn z",
    "constant table": "for a, b in PAIRS:\n    x += a * b\nreturn x",
    "annotated": "z: int = x\nreturn z",
    "docstring": "'''What it does.'''\nreturn x",
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_kept_rule(name: str, tmp_path: pathlib.Path) -> None:
    assert problems(KEPT[name], tmp_path) == []


def test_recursion_through_another_file(tmp_path: pathlib.Path) -> None:
    first, second = tmp_path / "a.py", tmp_path / "b.py"
    first.write_text("@kernel_function\ndef one(x):\n    return two(x)\n")
    second.write_text("@entry_point(int64(int64))\ndef two(x):\n    return one(x)\n")
    found = [str(problem) for problem in lint_files([first, second])]
    assert found == [
        f"{first}:2: one may call itself; recursion has no bound",
        f"{second}:2: two may call itself; recursion has no bound",
    ]


def test_rebound_global(tmp_path: pathlib.Path) -> None:
    found = problems("return x + LIMIT", tmp_path, before="LIMIT = 1\nLIMIT = 2")
    assert found == ["the global 'LIMIT' is bound more than once"]


def test_other_functions_are_not_looked_at(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "host.py"
    path.write_text("def host(x):\n    return [x / 2]\n")
    assert lint_files([path]) == []
