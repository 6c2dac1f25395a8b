"""Which functions of the image stay functions.

A call costs about 37 instructions, so small functions are always inlined; but one function of the
whole kernel would spill its registers everywhere and take minutes to translate.  A function stays
if it is large once everything below it is inlined.  Measured on 100,000 operations of the
market-making flow: 963 instructions per operation with LLVM's own choice, 847 with this bound,
782 with everything inlined, where translating the image takes four times as long.
"""

import re
from typing import Any, Final

LARGEST_INLINED: Final = 2500
"""LLVM instructions, inlined callees included, above which a function is called instead."""

_CALLEE: Final = re.compile(r'\bcall\b[^@]*@"?([^"(\s]+)"?\(')


def mark_functions(module: Any, entries: frozenset[str]) -> None:
    """Give every function but the entries `alwaysinline` or `noinline`."""
    sizes, calls = _measure(module)
    kept = _kept(sizes, calls)
    for function in module.functions:
        if not function.is_declaration and function.name not in entries:
            inlined = function.name not in kept
            function.add_function_attribute("alwaysinline" if inlined else "noinline")


def _measure(module: Any) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Instructions of each function, and the functions it calls, once for each call."""
    sizes: dict[str, int] = {}
    calls: dict[str, list[str]] = {}
    for function in module.functions:
        if function.is_declaration:
            continue
        sizes[function.name] = 0
        calls[function.name] = []
        for block in function.blocks:
            for instruction in block.instructions:
                sizes[function.name] += 1
                if instruction.opcode == "call":
                    calls[function.name] += _CALLEE.findall(str(instruction))
    return sizes, calls


def _kept(sizes: dict[str, int], calls: dict[str, list[str]]) -> set[str]:
    kept: set[str] = set()
    totals: dict[str, int] = {}

    def total(name: str) -> int:
        if name not in sizes:
            return 1
        if name not in totals:
            totals[name] = sizes[name]  # where recursion, which the lint rejects, would end
            for callee in calls[name]:
                size = total(callee)
                totals[name] += 1 if callee in kept else size
            if totals[name] > LARGEST_INLINED:
                kept.add(name)
        return totals[name]

    for name in sizes:
        total(name)
    return kept
