"""The checking engine: formulas, steps with reasons, decision procedures, mutants."""

from companion.proof.calculus import Concave, TraceProducts, derivative
from companion.proof.formula import (
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
from companion.proof.rules import (
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
from companion.proof.shannon import MI, H, Independent, Informations
from companion.proof.steps import (
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
