"""Which variables of a function may be read before anything was assigned to them.

Every path counts: a loop may run no times, and only what both branches assign is assigned after
an `if`.  `while True` ends by `break` alone.
"""

import ast
from collections.abc import Sequence

Names = frozenset[str] | None
"""Variables that are surely assigned; None where no path arrives."""


def unassigned_reads(function: ast.FunctionDef) -> list[tuple[str, int]]:
    """(name, line) of each read of a local variable that some path leaves unassigned."""
    analysis = _Analysis(function)
    parameters = frozenset(argument.arg for argument in function.args.args)
    analysis.statements(function.body, parameters)
    return analysis.found


class _Analysis:
    def __init__(self, function: ast.FunctionDef) -> None:
        self.local = {
            node.id
            for node in ast.walk(function)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        self.found: list[tuple[str, int]] = []
        self.breaks: list[list[Names]] = []

    def read(self, node: ast.AST | None, assigned: Names) -> None:
        if node is None or assigned is None:
            return
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
                if part.id in self.local and part.id not in assigned:
                    self.found.append((part.id, part.lineno))

    def statements(self, body: Sequence[ast.stmt], assigned: Names) -> Names:
        for statement in body:
            assigned = self.statement(statement, assigned)
        return assigned

    def statement(self, node: ast.stmt, assigned: Names) -> Names:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            return self.assignment(node, assigned)
        if isinstance(node, ast.AugAssign):
            self.read(node.value, assigned)
            if isinstance(node.target, ast.Name):
                if assigned is not None and node.target.id not in assigned:
                    self.found.append((node.target.id, node.lineno))
            else:
                self.read(node.target, assigned)
            return assigned
        if isinstance(node, ast.If):
            self.read(node.test, assigned)
            return _meet(
                self.statements(node.body, assigned), self.statements(node.orelse, assigned)
            )
        if isinstance(node, ast.While | ast.For):
            return self.loop(node, assigned)
        if isinstance(node, ast.Break):
            self.breaks[-1].append(assigned)
            return None
        if isinstance(node, ast.Return):
            self.read(node.value, assigned)
            return None
        if isinstance(node, ast.Continue):
            return None
        self.read(node, assigned)
        return assigned

    def assignment(self, node: ast.Assign | ast.AnnAssign, assigned: Names) -> Names:
        self.read(node.value, assigned)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            self.read(target, assigned)
            if assigned is not None:
                assigned |= _stored(target)
        return assigned

    def loop(self, node: ast.While | ast.For, assigned: Names) -> Names:
        inside = assigned
        if isinstance(node, ast.For):
            self.read(node.iter, assigned)
            if inside is not None:
                inside |= _stored(node.target)
        else:
            self.read(node.test, assigned)
        self.breaks.append([])
        self.statements(node.body, inside)
        endless = isinstance(node, ast.While) and _is_true(node.test)
        after: Names = None if endless else assigned
        for state in self.breaks.pop():
            after = _meet(after, state)
        return after


def _stored(target: ast.expr) -> frozenset[str]:
    return frozenset(
        node.id
        for node in ast.walk(target)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )


def _meet(first: Names, second: Names) -> Names:
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _is_true(test: ast.expr) -> bool:
    return isinstance(test, ast.Constant) and bool(test.value)
