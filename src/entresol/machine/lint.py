"""What a kernel function may not contain, found in its source.

The decorator cannot see these and the compiler forgives them: an unassigned variable becomes an
arbitrary value, a float or an exception needs a runtime that the machine does not have, recursion
has no bound.  The rules are those of kernel/subset.py.
"""

import ast
import pathlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from entresol.machine.assignment import unassigned_reads

_DECORATORS: Final = frozenset({"kernel_function", "entry_point"})

_FORBIDDEN: Final[dict[type[ast.AST], str]] = {
    ast.Try: "try",
    ast.Raise: "raise",
    ast.Assert: "assert",
    ast.With: "with",
    ast.Lambda: "lambda",
    ast.FunctionDef: "a nested function",
    ast.ClassDef: "a class",
    ast.Global: "global",
    ast.Nonlocal: "nonlocal",
    ast.Delete: "del",
    ast.Import: "import",
    ast.ImportFrom: "import",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
    ast.Await: "await",
    ast.AsyncFor: "async",
    ast.AsyncWith: "async",
    ast.Dict: "a dictionary",
    ast.DictComp: "a dictionary",
    ast.List: "a list",
    ast.ListComp: "a list",
    ast.Set: "a set",
    ast.SetComp: "a set",
    ast.GeneratorExp: "a generator",
    ast.JoinedStr: "a string",
    ast.Starred: "a starred expression",
    ast.NamedExpr: "an assignment within an expression",
    ast.Match: "match",
    ast.Slice: "a slice",
}
"""Syntax that the subset leaves out, and its name."""

_FORBIDDEN_CALLS: Final = frozenset(
    {"print", "float", "complex", "pow", "round", "sum", "map", "filter", "sorted", "list", "dict",
     "set", "str", "eval", "exec", "divmod", "open", "input", "len", "enumerate", "zip", "reversed"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """One breach of the subset's rules."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def lint_files(paths: Iterable[pathlib.Path]) -> list[Problem]:
    """Problems of all kernel functions in these files; recursion is looked for across files."""
    problems: list[Problem] = []
    calls: dict[str, set[str]] = {}
    places: dict[str, tuple[str, int]] = {}
    for path in paths:
        tree = ast.parse(path.read_text(), str(path))
        for function in kernel_functions(tree):
            problems += lint_function(function, str(path))
            calls.setdefault(function.name, set()).update(_called(function))
            places[function.name] = (str(path), function.lineno)
        problems += _rebound_globals(tree, str(path))
    for name in sorted(_recursive(calls)):
        path_name, line = places[name]
        problems.append(Problem(path_name, line, f"{name} may call itself; recursion has no bound"))
    return problems


def kernel_functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Functions under one of the kernel's decorators."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                target = decorator.func if isinstance(decorator, ast.Call) else decorator
                if isinstance(target, ast.Name) and target.id in _DECORATORS:
                    yield node


def lint_function(function: ast.FunctionDef, path: str) -> list[Problem]:
    """Problems within one kernel function."""
    problems = []
    arguments = function.args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.defaults:
        problems.append(Problem(path, function.lineno, "only plain positional parameters"))
    for statement in function.body:
        if _is_docstring(function, statement):
            continue
        for node in ast.walk(statement):
            message = _complaint(node)
            if message is not None:
                problems.append(Problem(path, getattr(node, "lineno", function.lineno), message))
    for name, line in unassigned_reads(function):
        problems.append(Problem(path, line, f"'{name}' may be read before it is assigned"))
    return problems


def _is_docstring(function: ast.FunctionDef, statement: ast.stmt) -> bool:
    return (
        statement is function.body[0]
        and isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _complaint(node: ast.AST) -> str | None:
    if type(node) in _FORBIDDEN:
        return f"{_FORBIDDEN[type(node)]} is not in the subset"
    if isinstance(node, ast.Constant) and isinstance(node.value, float | complex | str | bytes):
        return f"the constant {node.value!r} is not an integer"
    if isinstance(node, ast.BinOp):
        return _operator_complaint(node.op, node.right)
    if isinstance(node, ast.AugAssign):
        return _operator_complaint(node.op, node.value)
    if isinstance(node, ast.For):
        return _loop_complaint(node)
    if isinstance(node, ast.While) and node.orelse:
        return "a loop has no else"
    if isinstance(node, ast.Call):
        if node.keywords:
            return "arguments are passed by position"
        if isinstance(node.func, ast.Name) and node.func.id in _FORBIDDEN_CALLS:
            return f"{node.func.id}() is not in the subset"
    return None


def _operator_complaint(operator: ast.operator, right: ast.expr) -> str | None:
    if isinstance(operator, ast.Div):
        return "true division makes a float; use divide_floor or divide_truncate"
    if isinstance(operator, ast.Pow | ast.MatMult):
        return "this operator is not in the subset"
    if isinstance(operator, ast.FloorDiv | ast.Mod) and not _is_constant(right):
        return "division by a variable needs divide_floor and friends, after zero was excluded"
    if isinstance(operator, ast.LShift | ast.RShift) and isinstance(right, ast.Constant):
        amount = right.value
        if isinstance(amount, int) and not 0 <= amount < 64:
            return "a shift stays below 64"
    return None


def _is_constant(node: ast.expr) -> bool:
    """A positive literal, or the name of a constant."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int) and node.value > 0
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return bool(name) and name.strip("_").isupper()


def _loop_complaint(node: ast.For) -> str | None:
    if node.orelse:
        return "a loop has no else"
    if isinstance(node.iter, ast.Name) and _is_constant(node.iter):
        return None
    call = node.iter
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range":
        return None
    return "for runs over range() or a constant table only"


def _called(function: ast.FunctionDef) -> set[str]:
    return {
        node.func.id
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def _recursive(calls: dict[str, set[str]]) -> set[str]:
    """Functions from which a chain of calls leads back to themselves."""
    found = set()
    for name in calls:
        seen: set[str] = set()
        pending = [name]
        while pending:
            for callee in calls.get(pending.pop(), ()):
                if callee not in seen:
                    seen.add(callee)
                    pending.append(callee)
        if name in seen:
            found.add(name)
    return found


def _rebound_globals(tree: ast.Module, path: str) -> list[Problem]:
    """Module names that a kernel function reads and that are bound more than once."""
    bound: dict[str, int] = {}
    for statement in tree.body:
        targets: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
            targets = [statement.target]
        for target in targets:
            for node in ast.walk(target):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    bound[node.id] = bound.get(node.id, 0) + 1
    problems = []
    for function in kernel_functions(tree):
        for node in ast.walk(function):
            if isinstance(node, ast.Name) and bound.get(node.id, 0) > 1:
                message = f"the global '{node.id}' is bound more than once"
                problems.append(Problem(path, node.lineno, message))
    return problems
