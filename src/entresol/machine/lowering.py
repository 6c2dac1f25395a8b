"""Kernel functions to one RISC-V object: the half of the image build that runs in its own process.

`python -m entresol.machine.lowering OUT MODULE:FUNCTION...` compiles each function, whose one
argument is the native address of machine address 0, and writes a relocatable RV64IM object that
defines `entresol_entry_0`, `entresol_entry_1`, ...  build.py starts it with NUMBA_OPT=0 and a
generic processor: the IR must be taken before any pass has seen the host, or the object would
depend on the machine that built it.
"""

import importlib
import pathlib
import re
import sys
from typing import Any, Final

from llvmlite import binding
from numba.core import codegen, config, types

from entresol.machine.inlining import mark_functions
from entresol.machine.linker import ENTRY_SYMBOL

TRIPLE: Final = "riscv64-unknown-elf"
PROCESSOR: Final = "generic-rv64"
FEATURES: Final = "+m"
TABLE_ALIGNMENT: Final = 16
"""Bytes; tables come as byte arrays and would otherwise be read misaligned."""

_captured: dict[str, str] = {}


class LoweringError(Exception):
    """A kernel function cannot become an image; the message names what is in the way."""


def capture_unoptimised() -> None:
    """Keep the IR of every library that Numba finishes from now on, and leave it unoptimised."""
    if config.OPT != 0:
        raise LoweringError("Set NUMBA_OPT=0 before Numba is imported; build.py does.")
    library = codegen.CPUCodeLibrary
    finalize = library._finalize_final_module

    def keep(self: Any) -> Any:
        _captured[self.name] = str(self._final_module)
        return finalize(self)

    def leave(*_: object, **__: object) -> None:
        return None

    library._finalize_final_module = keep
    library._optimize_final_module = leave
    library._optimize_functions = leave


def compile_entry(dispatcher: Any) -> tuple[str, str]:
    """(mangled name, unoptimised IR) of a kernel function of signature int64(int64)."""
    name = dispatcher.py_func.__name__
    wrong = LoweringError(
        f"{name} cannot be an entry point: it must take one int64, the native address of machine "
        "address 0, and return an int64."
    )
    if dispatcher.py_func.__code__.co_argcount != 1:
        raise wrong
    if not dispatcher.signatures:
        dispatcher.compile((types.int64,))
    if dispatcher.signatures != [(types.int64,)]:
        raise wrong
    overload = dispatcher.overloads[dispatcher.signatures[0]]
    if overload.signature.return_type != types.int64:
        raise wrong
    return overload.fndesc.mangled_name, _captured[overload.library.name]


def neutral(text: str) -> str:
    """IR without the host's triple, without overflow promises and with aligned tables."""
    text = re.sub(r"^target (triple|datalayout) = .*$", "", text, flags=re.M)
    text = re.sub(r"\b(add|sub|mul|shl|trunc) ((?:nsw|nuw) )+", r"\1 ", text)
    text = re.sub(r"\b(zext|uitofp|icmp) ((?:nneg|samesign) )+", r"\1 ", text)
    table = r'^(@"?\.const\.array\.data[^\n]*= internal (?:unnamed_addr )?constant \[[^\n]*?)'
    return re.sub(table + r"(?:, align \d+)?$", rf"\1, align {TABLE_ALIGNMENT}", text, flags=re.M)


def target_machine() -> Any:
    """LLVM's code generator for the machine."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    return binding.Target.from_triple(TRIPLE).create_target_machine(
        cpu=PROCESSOR, features=FEATURES, opt=2, reloc="static", codemodel="medium"
    )


_ENTRY_IR: Final = """
declare i32 @"{name}"(ptr, ptr, i64)
define i32 @{symbol}(ptr %result, ptr %exception) {{
  %status = call i32 @"{name}"(ptr %result, ptr %exception, i64 0)
  ret i32 %status
}}
"""
"""Entry point of the image: the kernel function with `memory` fixed to 0, which LLVM then
propagates into every address computation."""


def merge(entries: list[tuple[str, str]]) -> Any:
    """One module of all entries and what they call.

    Tables of different modules share names.  They stay internal, so that linking renames them;
    given a mergeable linkage, one table would silently stand in for another.
    """
    merged = binding.parse_assembly("")
    for index, (name, text) in enumerate(entries):
        module = binding.parse_assembly(neutral(text))
        for function in module.functions:
            if not function.is_declaration:
                function.linkage = "external" if function.name == name else "linkonce_odr"
        for variable in module.global_variables:
            if not variable.is_declaration and variable.linkage.name not in ("internal", "private"):
                variable.linkage = "linkonce_odr"
        merged.link_in(module)
        symbol = f"{ENTRY_SYMBOL}{index}"
        merged.link_in(binding.parse_assembly(_ENTRY_IR.format(name=name, symbol=symbol)))
    return merged


_ATTRIBUTES: Final = '"no-builtins" "no-jump-tables"="true" null_pointer_is_valid nounwind'
"""Jump tables would be computed jumps; builtins would turn loops into calls of memset."""


def optimise(module: Any, machine: Any) -> Any:
    """LLVM's pipeline for the RISC-V target, without vectors; only entry points stay visible."""
    definition = r"^(define [^\n]*\)[^\n{]*)\{"
    text = re.sub(definition, rf"\1{_ATTRIBUTES} {{", str(module), flags=re.M)
    module = binding.parse_assembly(text)
    module.triple = TRIPLE
    module.data_layout = str(machine.target_data)
    entries = frozenset(f.name for f in module.functions if f.name.startswith(ENTRY_SYMBOL))
    for function in module.functions:
        if not function.is_declaration:
            function.linkage = "external" if function.name in entries else "internal"
    for variable in module.global_variables:
        if not variable.is_declaration:
            variable.linkage = "internal"
    tuning = binding.create_pipeline_tuning_options(speed_level=2)
    tuning.loop_vectorization = False
    tuning.slp_vectorization = False
    tuning.loop_unrolling = False
    builder = binding.create_pass_builder(machine, tuning)
    first = binding.create_new_module_pass_manager()  # so that sizes mean something
    first.add_global_dead_code_eliminate_pass()
    first.add_sroa_pass()
    first.add_instruction_combine_pass()
    first.add_simplify_cfg_pass()
    first.run(module, builder)
    mark_functions(module, entries)
    builder.getModulePassManager().run(module, builder)
    module.verify()
    return module


def reject_foreign_types(text: str) -> None:
    """Raise LoweringError if optimised IR still computes with floats or vectors."""
    body = re.sub(r'c"[^"]*"|^(?:!|;|source_filename|attributes|declare).*$', "", text, flags=re.M)
    found = re.search(r"\b(double|float|half|fp128)\b|<\d+ x ", body)
    if found is None:
        return
    line = body[body.rfind("\n", 0, found.start()) + 1 : body.find("\n", found.end())]
    function = re.findall(r'^define [^@]*@"?([^\s("]+)', body[: found.start()], flags=re.M)
    raise LoweringError(
        f"The kernel computes with '{found.group(0).strip()}' in {function[-1:]}: {line.strip()}. "
        "Wrap each field load in i64(...) and do not mix int64 with uint64."
    )


def lower(dispatchers: list[Any]) -> bytes:
    """Relocatable object of the kernel functions; deterministic but for its symbol names."""
    machine = target_machine()
    entries = [compile_entry(dispatcher) for dispatcher in dispatchers]
    module = optimise(merge(entries), machine)
    reject_foreign_types(str(module))
    module.name = "image"
    return bytes(machine.emit_object(module))


def main(arguments: list[str]) -> None:
    """Compile the named functions and write the object."""
    out, names = arguments[0], arguments[1:]
    capture_unoptimised()
    dispatchers = []
    for name in names:
        module_name, function_name = name.split(":")
        dispatchers.append(getattr(importlib.import_module(module_name), function_name))
    try:
        pathlib.Path(out).write_bytes(lower(dispatchers))
    except LoweringError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
