"""Wrong answers to every exercise, made by rule from the right ones: from the reference and from the printed solution.

A rule takes one node of the syntax tree and gives what could stand there by mistake. None of the answers that come of
it may be accepted, or `test_mutants` says why it is right all the same.
"""

from __future__ import annotations

import ast
import inspect
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import zip_longest
from types import ModuleType
from typing import Any

from metarl_lite.lesson.exercises import chapters, of_chapter
from metarl_lite.lesson.exercises.base import Exercise
from tools import contents
from tools.standard import Chapter

#: By rule: what could stand in place of a node. Statements give None for nothing at all.
Alternatives = Iterator[tuple[str, ast.AST | None]]

OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult, ast.FloorDiv: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,),
}  # fmt: skip
FUNCTIONS = {
    "sum": "mean", "mean": "sum", "std": "var", "max": "min", "maximum": "minimum", "cos": "sin", "sin": "cos",
    "log": "exp", "exp": "log", "sqrt": "square", "square": "abs", "zeros_like": "ones_like", "zeros": "ones",
    "unsqueeze": "squeeze", "cumsum": "cumprod", "values": "indices", "returns": "rewards", "sigmoid": "tanh",
}  # fmt: skip
#: Methods whose numbers are dimensions.
AXES = {
    "sum",
    "mean",
    "cumsum",
    "max",
    "std",
    "norm",
    "unsqueeze",
    "squeeze",
    "flip",
    "unbind",
    "flatten",
    "cat",
    "stack",
}


@dataclass(frozen=True)
class Mutant:
    """A wrong answer: the exercise, where it comes from, by which rule, what has changed, and its whole source."""

    exercise: str
    origin: str
    rule: str
    change: str
    source: str


# --- Rules ------------------------------------------------------------------------------------------------------------


def alternatives(node: ast.AST, names: list[str], parameters: list[str]) -> Alternatives:
    """What could stand in place of a node, in a function with these local names so far and these parameters."""
    if isinstance(node, ast.expr):
        yield from of_expression(node, parameters)
    if isinstance(node, ast.Call):
        yield from of_call(node)
    if isinstance(node, ast.Return) and node.value is not None:
        yield "detached", ast.Return(detached(node.value))
        for name in names:
            yield "another result", ast.Return(ast.Name(name, ast.Load()))
    if isinstance(node, ast.If):
        yield "condition", ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    if isinstance(node, ast.Assign | ast.AugAssign | ast.If | ast.For | ast.Expr):
        yield "no statement", None


def detached(value: ast.expr) -> ast.expr:
    if isinstance(value, ast.Tuple):
        return ast.Tuple([detached(part) for part in value.elts], ast.Load())
    return ast.Call(ast.Attribute(value, "detach", ast.Load()), [], [])


def of_expression(node: ast.expr, parameters: list[str]) -> Alternatives:
    if isinstance(node, ast.BinOp):
        yield "operator", ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
        rule = "no term" if isinstance(node.op, ast.Add | ast.Sub) else "no factor"
        yield rule, node.left
        if not isinstance(node.op, ast.Pow):
            yield rule, node.right
    elif isinstance(node, ast.BoolOp):
        yield "operator", ast.BoolOp(OPERATORS[type(node.op)](), node.values)
        for value in node.values:
            yield "no term", value
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
        yield "sign", node.operand
    elif isinstance(node, ast.Compare):
        for other in COMPARISONS.get(type(node.ops[0]), ()):
            yield "comparison", ast.Compare(node.left, [other()], node.comparators)
    elif isinstance(node, ast.IfExp):
        yield "condition", ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.Attribute) and node.attr in ("mT", "T"):
        yield "transpose", node.value
    elif isinstance(node, ast.Attribute) and node.attr in FUNCTIONS:
        yield "another function", ast.Attribute(node.value, FUNCTIONS[node.attr], node.ctx)
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield "no index", node.value
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in parameters:
        for other in parameters:
            if other != node.id:
                yield "another name", ast.Name(other, ast.Load())
    elif isinstance(node, ast.Constant):
        yield from of_constant(node.value)


def of_constant(value: Any) -> Alternatives:
    if isinstance(value, bool):
        yield "truth", ast.Constant(not value)
    elif isinstance(value, int | float):
        yield "constant", ast.Constant(value + 1)
        yield "constant", ast.Constant(value - 1)
    elif value in ("I", "II", "neither"):
        yield from (("word", ast.Constant(word)) for word in ("I", "II", "neither") if word != value)


def of_call(node: ast.Call) -> Alternatives:
    if len(node.args) >= 2:
        yield "swapped", ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)
    for place in range(len(node.keywords)):
        yield "no argument", ast.Call(node.func, node.args, node.keywords[:place] + node.keywords[place + 1 :])
    if node.args:
        yield "no argument", ast.Call(node.func, node.args[:-1], node.keywords)
    if isinstance(node.func, ast.Attribute) and not isinstance(node.func.value, ast.Name):
        yield "no call", node.func.value
    if isinstance(node.func, ast.Attribute | ast.Name) and node.args:
        yield "no call", node.args[0]
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name == "range":
        yield from of_range(node)
    if name in AXES:
        yield from of_axes(node)
    yield from of_chance(node, name)


def of_range(node: ast.Call) -> Alternatives:
    one, last = ast.Constant(1), node.args[-1]
    yield "range", ast.Call(node.func, [*node.args[:-1], ast.BinOp(last, ast.Sub(), one)], [])
    yield "range", ast.Call(node.func, [*node.args[:-1], ast.BinOp(last, ast.Add(), one)], [])
    if len(node.args) == 1:
        yield "range", ast.Call(node.func, [one, last], [])


def of_axes(node: ast.Call) -> Alternatives:
    for place, given in enumerate(node.args):
        try:
            axis = ast.literal_eval(given)
        except ValueError:
            continue
        for other in {-1: (0, -2), 0: (1,), 1: (0, 2), (1, 2): ((0, 1), (0, 2)), (0, 1): (0, 1)}.get(axis, ()):
            shown = ast.parse(repr(other), mode="eval").body
            yield "axis", ast.Call(node.func, [*node.args[:place], shown, *node.args[place + 1 :]], node.keywords)


def of_chance(node: ast.Call, name: str) -> Alternatives:
    fixed = ast.parse("torch.Generator().manual_seed(0)", mode="eval").body
    given = [getattr(argument, "id", "") for argument in node.args]
    if "gen" in given:
        arguments = [fixed if name == "gen" else argument for name, argument in zip(given, node.args, strict=True)]
        yield "chance", ast.Call(node.func, arguments, node.keywords)
    if name == "uniform":
        yield "chance", ast.parse(f"torch.full({ast.unparse(node.args[0])}, 0.5)", mode="eval").body
    if name == "randperm":
        yield "chance", ast.parse(f"torch.arange({ast.unparse(node.args[0])})", mode="eval").body
        keywords = [ast.keyword("generator", fixed)]
        yield "chance", ast.Call(node.func, node.args, keywords)


# --- Applying them ----------------------------------------------------------------------------------------------------


class _Bare(ast.NodeTransformer):
    """Leaves types, docstrings and the word `strict` out."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns, node.decorator_list = None, []
        for argument in node.args.args:
            argument.annotation = None
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value is not None
        return self.generic_visit(ast.Assign([node.target], node.value))

    def visit_keyword(self, node: ast.keyword) -> ast.AST | None:
        return None if node.arg == "strict" else self.generic_visit(node)


def mutated(source: str) -> Iterator[tuple[str, str, str]]:
    """Every rule applied to every node of a source, once: the rule, what has changed, the new source."""
    tree = ast.fix_missing_locations(_Bare().visit(ast.parse(source)))
    whole = ast.unparse(tree)
    seen = {whole}
    for node, put in places(tree):
        for rule, other in list(alternatives(node, *surroundings(tree, node))):
            put(other)
            text = ast.unparse(ast.fix_missing_locations(tree))
            put(node)
            if text not in seen:
                seen.add(text)
                yield rule, difference(whole, text), text


def places(tree: ast.AST) -> list[tuple[ast.AST, Callable[[ast.AST | None], None]]]:
    """Every node with a function that puts something else in its place, or nothing; a body that is empty passes."""
    found: list[tuple[ast.AST, Callable[[ast.AST | None], None]]] = []
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if isinstance(value, ast.AST):
                found.append((value, partial(setattr, parent, field)))
            elif isinstance(value, list):
                whole = list(value)
                found += [(x, partial(_put_in, value, whole, n)) for n, x in enumerate(whole) if isinstance(x, ast.AST)]
    return found


def _put_in(body: list[ast.AST], whole: list[ast.AST], place: int, other: ast.AST | None) -> None:
    body[:] = [*whole[:place], *([other] if other is not None else []), *whole[place + 1 :]]
    if not body and isinstance(whole[place], ast.stmt):
        body[:] = [ast.Pass()]


def surroundings(tree: ast.Module, node: ast.AST) -> tuple[list[str], list[str]]:
    """Names that are assigned in the function of a node before it, and its parameters."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and any(inner is node for inner in ast.walk(function)):
            parameters = [argument.arg for argument in function.args.args]
            stored = [n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
            return list(dict.fromkeys(stored)), parameters
    return [], []


def difference(before: str, after: str) -> str:
    """The lines that go, an arrow, the lines that come."""
    old, new = before.splitlines(), after.splitlines()
    gone, come = [line.strip() for line in old if line not in new], [line.strip() for line in new if line not in old]
    return f"{'; '.join(gone)} -> {'; '.join(come)}"


# --- Answers ----------------------------------------------------------------------------------------------------------


def reference_source(exercise: Exercise) -> str:
    """The reference and the functions of its module that it calls, the reference last."""
    if not exercise.asks_for_function:
        return ""
    module = inspect.getmodule(exercise.reference)
    sources, wanted = dict[str, str](), [exercise.reference.__name__]
    while wanted:
        name = wanted.pop()
        sources[name] = inspect.getsource(getattr(module, name))
        called = {node.id for node in ast.walk(ast.parse(sources[name])) if isinstance(node, ast.Name)}
        wanted += [
            other for other in sorted(called - set(sources))
            if inspect.isfunction(found := getattr(module, other, None)) and inspect.getmodule(found) is module
        ]  # fmt: skip
    return "\n".join(reversed(sources.values()))


@cache
def written() -> dict[str, tuple[str, str]]:
    """By exercise: the imports of its chapter, and its printed solution."""
    found = {}
    for path in contents.notebooks():
        chapter = Chapter.read(path)
        imports = "\n".join(cell.source for cell in chapter.tagged("imports"))
        found |= {exercise.name: (imports, exercise.solutions[0]) for exercise in chapter.exercises}
    return found


@cache
def mutants(name: str) -> list[Mutant]:
    """All wrong answers to an exercise, in an order that does not depend on where they stand in the source."""
    exercise = of_chapter(int(name.split(".")[0]))[name]
    sources = {"solution": written()[name][1], "reference": reference_source(exercise)}
    found = [
        Mutant(name, origin, rule, *rest)
        for origin, source in sources.items()
        for rule, *rest in mutated(source)
        if rule != "detached" or exercise.derivatives  # elsewhere numbers are asked for
    ]
    return sorted(found, key=lambda mutant: zlib.crc32(mutant.change.encode()))


def distinct(name: str) -> list[Mutant]:
    """All wrong answers to an exercise; of those of reference and solution that have the same change one."""
    return list({mutant.change: mutant for mutant in reversed(mutants(name))}.values())[::-1]


def chosen(name: str, most: int = 20) -> list[Mutant]:
    """Some of them, as evenly as can be over the rules."""
    by_rule: dict[str, list[Mutant]] = {}
    for mutant in distinct(name):
        by_rule.setdefault(mutant.rule, []).append(mutant)
    in_turn = zip_longest(*(by_rule[rule] for rule in sorted(by_rule)))
    return [mutant for turn in in_turn for mutant in turn if mutant is not None][:most]


def answer_of(mutant: Mutant) -> Any:
    """The function, or the value, that a mutant's source defines."""
    exercise = of_chapter(int(mutant.exercise.split(".")[0]))[mutant.exercise]
    if mutant.origin == "reference":
        module = inspect.getmodule(exercise.reference)
        assert isinstance(module, ModuleType)
        names = dict(vars(module))
    else:
        names = {"__name__": "__main__"}
        exec(written()[mutant.exercise][0], names)
    before = set(names)
    exec(compile(mutant.source, f"<mutant of {mutant.exercise}>", "exec"), names)
    if mutant.origin == "reference":
        return names[exercise.reference.__name__]
    return names[[name for name in names if name not in before and name != "__builtins__"][-1]]


def all_exercises() -> list[str]:
    """The names of all exercises."""
    return [name for number in chapters() for name in of_chapter(number)]
