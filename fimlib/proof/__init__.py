"""The checking engine: formulas, steps with reasons, decision procedures, mutants."""

from fimlib.proof.calculus import Concave, TraceProducts, derivative
from fimlib.proof.formula import (
    HALF,
    Block,
    Const,
    Det,
    Eye,
    Let,
    Log,
    Mean,
    Sym,
    Tr,
    Zero,
    block,
    logdet,
    scalar,
)
from fimlib.proof.rules import (
    BlockProduct,
    Congruences,
    Given,
    Grows,
    Multiplicative,
    Scaled,
    Spectral,
    Sylvester,
    Triangular,
)
from fimlib.proof.shannon import MI, H, Independent, Informations
from fimlib.proof.steps import (
    ALL,
    CALCULUS,
    GENERIC,
    KINDS,
    MONTE_CARLO,
    NUMERIC,
    RECORDED,
    Check,
    Derivation,
    Mutant,
    NotRecorded,
    Report,
    Step,
    chain,
    eq,
    equal,
    ge,
    generator,
    le,
    run,
)
