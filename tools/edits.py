"""Wrong versions of Python source, by the mistakes that break formulas as well.

The kinds have the names that `companion.proof.mutants` gives them in a derivation: a
sign flipped, a term, a factor, an inverse, a transpose or a ½ dropped, a relation
reversed; and, since code also has functions, a function dropped and mean for sum.
"""

import ast
import hashlib
import re
from dataclasses import dataclass

FUNCTIONS = {"sqrt", "rsqrt", "square", "log", "log1p", "exp", "expm1", "abs"}
AVERAGES = {"sum": "mean", "mean": "sum"}
FLIPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add}
REVERSED = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.Gt, ast.GtE: ast.Lt}
MODULES = {"torch", "math", "np"}
# What decides sizes, speed, rounding or the words of an error, and no number.
SIZES = {"len", "shape", "size", "numel", "ndim", "dim", "range", "arange", "split"}
SIZES |= {"reshape", "view", "expand", "eye", "zeros", "ones", "empty", "finfo"}
CONSTANT = re.compile(r"_?[A-Z][A-Z_]+$|eps$|_?tie$|tolerance|jitter")
UNTOUCHED = re.compile("check|cost|chunk|bytes|memory|require|repr")
IGNORED = (ast.Raise, ast.Assert, ast.JoinedStr, ast.arguments, ast.AnnAssign)
TEXTS = (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp, ast.Dict, ast.Set)


@dataclass(frozen=True)
class Edit:
    """One mistake: the node at `place` of a file's formulas, written as `after`."""

    file: str
    function: str
    kind: str
    place: int
    before: str
    after: str

    @property
    def name(self):
        where = f"{self.file} {self.function}"
        return f"{where}: {self.kind}: {self.before} -> {self.after}"

    @property
    def rank(self):
        """A place in a shuffled order, which changes elsewhere in the code leave."""
        text = f"{self.file} {self.function} {self.kind} {self.before}"
        return hashlib.sha1(text.encode()).hexdigest()

    def applied(self, source):
        """The module's source with the mistake (and without its comments)."""
        tree = ast.parse(source)
        node = [n for _, n in places(tree)][self.place]
        new = ast.parse(self.after, mode="eval").body
        return ast.unparse(Exchange(node, new).visit(tree))


class Exchange(ast.NodeTransformer):
    def __init__(self, old, new):
        self.old, self.new = old, new

    def visit(self, node):
        return self.new if node is self.old else super().visit(node)


def edits_of(file, source):
    """Every mistake in a module's formulas."""
    found = []
    for place, (function, node) in enumerate(places(ast.parse(source))):
        for kind, wrong in mistakes(node):
            before, after = ast.unparse(node), ast.unparse(wrong)
            found.append(Edit(file, function, kind, place, before, after))
    return found


def places(tree):
    """(function, node) of everything that computes a number, in order."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from places(node)
        elif isinstance(node, ast.FunctionDef) and not UNTOUCHED.search(node.name):
            yield from ((node.name, x) for x in formulas(node.body))


def formulas(parts):
    """Expressions, but no messages, sizes, indices, thresholds or refusals."""
    for node in parts:
        refusal = isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise)
        if isinstance(node, IGNORED) or refusal or names(node) & SIZES:
            continue
        if isinstance(node, ast.expr) and not any(map(CONSTANT.match, names(node))):
            yield node
        if isinstance(node, ast.Subscript):
            yield from formulas([node.value])
        elif isinstance(node, ast.FunctionDef):
            yield from formulas(node.body)
        elif isinstance(node, ast.If | ast.IfExp | ast.While):  # which way, not what
            rest = [x for x in ast.iter_child_nodes(node) if x is not node.test]
            yield from formulas(rest)
        else:
            yield from formulas(ast.iter_child_nodes(node))


def names(node):
    """What a call, attribute or name is called, on either side of an operator."""
    match node:
        case ast.Call():
            return names(node.func)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return {name}
        case ast.BinOp():
            return names(node.left) | names(node.right)
        case ast.Compare():
            return names(node.left) | set().union(*map(names, node.comparators))
        case ast.Subscript(value=part) | ast.UnaryOp(operand=part):
            return names(part)
    return set()


def is_text(node):
    text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return text or isinstance(node, TEXTS)


def mistakes(node):
    """(kind, the node with it)."""
    match node:
        case ast.BinOp() if is_text(node.left) or is_text(node.right):
            return
        case ast.BinOp(left, ast.Add() | ast.Sub() as op, right):
            yield "sign flipped", ast.BinOp(left, FLIPPED[type(op)](), right)
            yield "term dropped", left
        case ast.BinOp(left, ast.Mult(), right):
            constant = left if isinstance(left, ast.Constant) else None
            half = constant is not None and constant.value == 0.5
            yield "½ dropped" if half else "factor dropped", right if constant else left
        case ast.BinOp(left, ast.Div(), ast.Constant(value=2)):
            yield "½ dropped", left
        case ast.BinOp(left, ast.Div(), right):
            yield "inverse dropped", ast.BinOp(left, ast.Mult(), right)
        case ast.BinOp(left, ast.Pow(), _):
            yield "factor dropped", left
        case ast.UnaryOp(ast.USub(), part) if not isinstance(part, ast.Constant):
            yield "sign changed", part
        case ast.Attribute(part, "mT" | "T" | "mH"):
            yield "transpose dropped", part
        case ast.Compare(left, [op], right) if type(op) in REVERSED:
            yield "relation reversed", ast.Compare(left, [REVERSED[type(op)]()], right)
        case ast.Call(ast.Attribute(part, name)) if name in FUNCTIONS:
            module = isinstance(part, ast.Name) and part.id in MODULES
            yield "function dropped", node.args[0] if module else part
        case ast.Call(ast.Attribute(part, name)) if name in AVERAGES:
            other = ast.Attribute(part, AVERAGES[name], ast.Load())
            call = ast.Call(other, node.args, node.keywords)
            yield f"{AVERAGES[name]} for {name}", call
