"""sin, cos, tan, atan2, exp, log, pow, tanh of float32 numbers, the same bits on every CPU.

Each takes float32, reduces its argument, evaluates a polynomial in float64 by additions and
multiplications, and rounds the result to float32 once. No call, no branch, no library that differs
by machine, and no fused multiply-add but in ``exp``, where every argument was looked at with and
without: LLVM's vectoriser takes them, and NumPy's scalars give the same bits. So each definition
below serves both: compiled code, and plain Python as the reference.

With 53 bits inside, the result is that of the true value rounded to float32, unless this lies
within about 2⁻²⁵ of a unit in the last place of the middle between two float32 numbers. What was
found of all arguments: docs/rules.md, held by ``tests/kernels/test_elementary.py``.

Polynomials interpolate at the Chebyshev points of the reduced range; the remainders of sin and cos
lie below 2⁻⁵⁴, of exp and log below 2⁻⁵⁶, of atan below 2⁻⁵⁷. Reduction: Cody and Waite, *Software
Manual for the Elementary Functions* (1980), for exp; for sin and cos x · 2/π in pieces, of which
those bits are left out before that make whole turns only (Payne, Hanek 1983).
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from math import ldexp
from typing import Any, Final, TypeVar, cast

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.extending import overload, register_jitable

from shm.jit import INSIDE, intrinsic

F = TypeVar("F", bound=Callable[..., Any])
OPTIONS: Any = {"forceinline": True, "error_model": "numpy", "boundscheck": False, **INSIDE}
"""Of Numba's compiler, for what is to dissolve in a loop over entities."""

MAGIC: Final = 1.5 * 2.0**52
"""Added to a number below 2⁵¹, it rounds it to a whole one, whose low bits are the sum's."""
_MAGIC_BITS: Final = 0x4338_0000_0000_0000
_ONE_BITS: Final = 0x3FF0_0000_0000_0000
_ROOT_HALF_BITS: Final = 0x3FE6_A09E_667F_3BCD
_BIAS: Final = 1 << 62  # 1024 exponents up: the shift below meets no negative number
TWO_OVER_PI: Final = 0xA2F9836E_4E441529_FC2757D1_F534DDC0_DB629599_3C439041_FE5163AB_DEBBC562
"""2/π · 2²⁵⁶, cut."""
_HALF_PI: Final = 1.5707963267948966
_PI: Final = 3.141592653589793
_QUARTER_PI: Final = 0.7853981633974483
_TAN_PI_8: Final = 0.41421356237309503
_LOG2_E: Final = 1.4426950408889634
_LN2: Final = (0.6931471805598903, 5.497923018708371e-14)
"""ln 2 in two pieces: eleven bits times the first are exact."""
_LN2_HIGH, _LN2_LOW = _LN2
_FAR: Final = np.float32(200.0)
FUSES: Final = platform.machine() != "x86_64" or bool(get_host_cpu_features().get("fma"))
"""Whether the processor multiplies and adds in one step; else LLVM would make it a call."""

_S1, _S2, _S3 = -0.16666666666666663, 0.008333333333328667, -0.00019841269833553688
_S4, _S5, _S6 = 2.7557314556331614e-06, -2.5050831663300426e-08, 1.589795358176333e-10
_C1, _C2, _C3 = 0.041666666666666664, -0.001388888888888597, 2.4801587296760654e-05
_C4, _C5, _C6 = -2.75573163043752e-07, 2.0875958465700944e-09, -1.1370009816717988e-11
_E1, _E2, _E3 = 0.5000000000000001, 0.16666666666666669, 0.04166666666662404
_E4, _E5, _E6 = 0.008333333333330055, 0.0013888888917258759, 0.00019841269863088255
_E7, _E8 = 2.4801521225986432e-05, 2.7557268406190795e-06
_E9, _E10 = 2.7620121717381933e-07, 2.51004110820149e-08
_G1, _G2, _G3 = 0.666666666666667, 0.3999999999989931, 0.2857142862606338
_G4, _G5, _G6 = 0.22222211120449295, 0.1818289017031413, 0.15331686868634076
_G7 = 0.1461687891907532
_A1, _A2, _A3 = -0.3333333333333333, 0.19999999999995505, -0.1428571428466294
_A4, _A5, _A6 = 0.1111111101496664, -0.09090904566354398, 0.07692182917461153
_A7, _A8, _A9 = -0.06664507597561581, 0.05858115476299181, -0.05085274801638848
_A10, _A11 = 0.03922660551078745, -0.01917070039365004


def _pieces(power: int) -> tuple[float, ...]:
    """2/π without the bits that make whole turns of multiples of 2 ** ``power``: two pieces that
    make exact products with 24 bits, and the rest."""
    whole = (TWO_OVER_PI << power) & ((4 << 256) - 1)
    cut = whole.bit_length() - 29
    first = whole >> cut << cut
    second = (whole - first) >> (cut - 29) << (cut - 29)
    third = whole - first - second
    return tuple(ldexp(float(each), -256 - power) for each in (first, second, third))


_H0, _M0, _L0 = _pieces(0)
_H1, _M1, _L1 = _pieces(28)
_H2, _M2, _L2 = _pieces(54)
_H3, _M3, _L3 = _pieces(80)
_FAR1, _FAR2, _FAR3 = 2.0**51, 2.0**77, 2.0**103
"""From here on a float32 is a multiple of 2²⁸, 2⁵⁴, 2⁸⁰, and the product below 2⁵¹."""


def _shared(function: F) -> F:
    register_jitable(**OPTIONS)(function)
    return function


def _bits32(x: Any) -> Any:
    """The float32 ``x`` as an int32."""
    return x.view(np.int32)


def _bits64(x: Any) -> Any:
    """The float64 ``x`` as an int64."""
    return x.view(np.int64)


def _float64(bits: Any) -> Any:
    """The float64 with these ``bits``, an int64."""
    return bits.view(np.float64)


def _either(condition: Any, yes: Any, no: Any) -> Any:
    """``yes`` where ``condition`` holds, else ``no``; both are computed."""
    return np.where(condition, yes, no)[()]


def _either32(condition: Any, yes: Any, no: Any) -> Any:
    """The same of float32."""
    return np.where(condition, yes, no)[()]


def _fused(a: Any, b: Any, c: Any) -> Any:
    """``a · b + c``, rounded once where the processor has that and code is compiled, else twice:
    only for what is the same rounded to float32 either way."""
    return a * b + c


def _cast(source: Any, target: Any, kind: Any) -> Any:
    @intrinsic
    def cast_bits(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], kind)

        return target(source), generate

    return cast_bits


def _selector(kind: Any) -> Any:
    @intrinsic
    def select(typing_context: Any, condition: Any, yes: Any, no: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.select(*args)

        return kind(types.boolean, kind, kind), generate

    return select


@intrinsic
def _multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if FUSES:
            return builder.fma(*args)
        return builder.fadd(builder.fmul(args[0], args[1]), args[2])

    kind = types.float64
    return kind(kind, kind, kind), generate


def _primitive(function: Any, *compiled: Any) -> None:
    overload(function, jit_options=OPTIONS, inline="never")(*compiled)


def _chooser(select: Any) -> Any:
    return lambda condition, yes, no: lambda condition, yes, no: select(condition, yes, no)


def _compiled_primitives() -> None:
    bits32 = _cast(types.float32, types.int32, ir.IntType(32))
    bits64 = _cast(types.float64, types.int64, ir.IntType(64))
    float64 = _cast(types.int64, types.float64, ir.DoubleType())
    _primitive(_bits32, lambda x: lambda x: bits32(x))
    _primitive(_bits64, lambda x: lambda x: bits64(x))
    _primitive(_float64, lambda bits: lambda bits: float64(bits))
    for function, kind in ((_either, types.float64), (_either32, types.float32)):
        _primitive(function, _chooser(_selector(kind)))
    _primitive(_fused, lambda a, b, c: lambda a, b, c: _multiply_add(a, b, c))


_compiled_primitives()


@_shared
def _quarters(x: Any) -> tuple[Any, Any]:
    """(angle in [−π/4, π/4] and a little beyond, bits of the quarter turn) of a float32 ``x``.

    Constants chosen by comparisons, no table: with a load at a computed address in the loop over
    entities LLVM can't tell that it meets no store, and makes no vectors.
    """
    d = np.float64(x)
    size = abs(d)
    far1, far2, far3 = size >= _FAR1, size >= _FAR2, size >= _FAR3
    high = _either(far3, _H3, _either(far2, _H2, _either(far1, _H1, _H0)))
    middle = _either(far3, _M3, _either(far2, _M2, _either(far1, _M1, _M0)))
    low = _either(far3, _L3, _either(far2, _L2, _either(far1, _L1, _L0)))
    return _turned(d, high, middle, low)


@_shared
def _turned(d: Any, high: Any, middle: Any, low: Any) -> tuple[Any, Any]:
    """``_quarters`` of a float64 ``d``, by 2/π in these pieces."""
    turns = d * high
    first = turns + MAGIC
    rest = (turns - (first - MAGIC)) + d * middle
    second = rest + MAGIC
    rest = (rest - (second - MAGIC)) + d * low
    return rest * _HALF_PI, _bits64(first) + _bits64(second)


@_shared
def _sine(r: Any) -> Any:
    z = r * r
    w = z * z
    p = (_S1 + z * _S2) + w * ((_S3 + z * _S4) + w * (_S5 + z * _S6))
    return r * (1.0 + z * p)


@_shared
def _cosine(r: Any) -> Any:
    z = r * r
    w = z * z
    p = (_C1 + z * _C2) + w * ((_C3 + z * _C4) + w * (_C5 + z * _C6))
    return (1.0 - 0.5 * z) + w * p


@_shared
def _exponential(d: Any) -> Any:
    """e to the float64 ``d``, which counts as at most 200 and at least −200."""
    d = _either(d > 200.0, 200.0, _either(d < -200.0, -200.0, d))
    shifted = d * _LOG2_E + MAGIC
    whole = shifted - MAGIC
    r = (d - whole * _LN2_HIGH) - whole * _LN2_LOW
    p = _E6 + r * (_E7 + r * (_E8 + r * (_E9 + r * _E10)))
    p = _E1 + r * (_E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * p))))
    return (1.0 + (r + (r * r) * p)) * _float64((_bits64(shifted) << 52) + _ONE_BITS)


@_shared
def _logarithm(d: Any) -> Any:
    """Natural logarithm of a float64 ``d`` that is no subnormal one."""
    found = _either(d == 0.0, -np.inf, _either(d == np.inf, np.inf, _logarithm_of(d)))
    return _either(d >= 0.0, found, np.nan)


@_shared
def _logarithm_of(d: Any) -> Any:
    """``_logarithm`` of a finite one above 0."""
    bits = _bits64(d)
    power = ((bits - _ROOT_HALF_BITS + _BIAS) >> 52) - 1024
    f = _float64(bits - (power << 52)) - 1.0
    s = f / (2.0 + f)
    z = s * s
    p = _G1 + z * (_G2 + z * (_G3 + z * (_G4 + z * (_G5 + z * (_G6 + z * _G7)))))
    number = _float64(power + _MAGIC_BITS) - MAGIC
    return number * _LN2_HIGH + (2.0 * s + (s * (z * p) + number * _LN2_LOW))


@_shared
def sin(x: Any) -> Any:
    """Sine of a float32."""
    r, q = _quarters(x)
    found = _either((q & 1) != 0, _cosine(r), _sine(r))
    return np.float32(_either((q & 2) != 0, -found, found))


@_shared
def cos(x: Any) -> Any:
    """Cosine of a float32."""
    r, q = _quarters(x)
    return _cosine_at(r, q)


@_shared
def cos_near(x: Any) -> Any:
    """Cosine of a float32 below 2⁵¹ in size: as ``cos``, and sooner."""
    r, q = _turned(np.float64(x), _H0, _M0, _L0)
    return _cosine_at(r, q)


@_shared
def _cosine_at(r: Any, q: Any) -> Any:
    found = _either((q & 1) != 0, _sine(r), _cosine(r))
    return np.float32(_either(((q + 1) & 2) != 0, -found, found))


@_shared
def tan(x: Any) -> Any:
    """Tangent of a float32."""
    r, q = _quarters(x)
    s, c = _sine(r), _cosine(r)
    odd = (q & 1) != 0
    return np.float32(_either(odd, -c, s) / _either(odd, s, c))


@_shared
def exp(x: Any) -> Any:
    """e to a float32.

    As ``_exponential``, with the polynomial in pairs, fused where the processor can: a loop over
    entities waits for fewer steps. Whichever way, each of the 2³² arguments gives the same.
    """
    x = _either32(x > _FAR, _FAR, _either32(x < -_FAR, -_FAR, x))
    d = np.float64(x)
    shifted = _fused(d, _LOG2_E, MAGIC)
    whole = shifted - MAGIC
    r = _fused(-whole, _LN2_LOW, _fused(-whole, _LN2_HIGH, d))
    z = r * r
    low = _fused(z, _fused(r, _E2, _E1), 1.0 + r)
    middle = _fused(z, _fused(r, _E6, _E5), _fused(r, _E4, _E3))
    high = _fused(z, _fused(r, _E10, _E9), _fused(r, _E8, _E7))
    w = z * z
    p = _fused(w, _fused(w, high, middle), low)
    return np.float32(p * _float64((_bits64(shifted) << 52) + _ONE_BITS))


@_shared
def log(x: Any) -> Any:
    """Natural logarithm of a float32; −inf of 0, NaN of what is less."""
    return np.float32(_logarithm(np.float64(x)))


@_shared
def log_finite(x: Any) -> Any:
    """Natural logarithm of a finite float32 above 0: as ``log``, and sooner."""
    return np.float32(_logarithm_of(np.float64(x)))


@_shared
def tanh(x: Any) -> Any:
    """Hyperbolic tangent of a float32."""
    d = np.float64(x)
    far = abs(d)
    e = _exponential(2.0 * far)
    high = (e - 1.0) / (e + 1.0)
    z = d * d
    low = d * (1.0 - z * (0.3333333333333333 - z * (0.13333333333333333 - z * 0.05396825396825397)))
    return np.float32(_either(far < 0.015625, low, _either(d < 0.0, -high, high)))


@_shared
def atan2(y: Any, x: Any) -> Any:
    """Angle of the point (x, y), of float32 numbers, in [−π, π]."""
    below, left = _bits32(y) < 0, _bits32(x) < 0
    a, b = abs(np.float64(y)), abs(np.float64(x))
    a = _either(a == np.inf, 1e300, a)
    b = _either(b == np.inf, 1e300, b)
    steep = a > b
    low, high = _either(steep, b, a), _either(steep, a, b)
    beyond = low > high * _TAN_PI_8
    top = _either(beyond, low - high, low)
    base = _either(beyond, low + high, high)
    t = top / _either(base == 0.0, 1.0, base)
    z = t * t
    p = _A6 + z * (_A7 + z * (_A8 + z * (_A9 + z * (_A10 + z * _A11))))
    p = _A1 + z * (_A2 + z * (_A3 + z * (_A4 + z * (_A5 + z * p))))
    angle = _either(beyond, _QUARTER_PI, 0.0) + t * (1.0 + z * p)
    angle = _either(steep, _HALF_PI - angle, angle)
    angle = _either(left, _PI - angle, angle)
    return np.float32(_either(below, -angle, angle))


@_shared
def atan(x: Any) -> Any:
    """Arc tangent of a float32, in [−π/2, π/2]."""
    return atan2(x, np.float32(1.0))


@_shared
def pow(x: Any, y: Any) -> Any:  # named as in ``math``, as all here
    """``x`` to the power ``y``, of float32 numbers: what C99 says of each special case."""
    d, power = np.float64(x), np.float64(y)
    size = abs(d)
    shifted = _either(abs(power) > 4e15, 4e15, power) + MAGIC  # beyond 2²⁴ all are even
    whole = (shifted - MAGIC == power) | (abs(power) > 4e15)
    odd = (_bits64(shifted) & 1) != 0
    found = _exponential(power * _logarithm(size))
    found = _either((size == 1.0) | (power == 0.0), 1.0, found)
    found = _either((_bits32(x) < 0) & odd & whole, -found, found)
    allowed = whole | (d >= 0.0) | (size == np.inf) | (d != d)
    found = _either(allowed, found, np.nan)
    unknown = ((d != d) & (power != 0.0)) | ((power != power) & (d != 1.0))
    return np.float32(_either(unknown, np.nan, found))


@_shared
def sqrt(x: Any) -> Any:
    """Square root of a float32, exact to the last bit as IEEE 754 has it."""
    return np.sqrt(x)


FUNCTIONS: Final = (sin, cos, tan, atan, atan2, exp, log, pow, tanh, sqrt)


def plain(function: Callable[..., Any], *numbers: Any) -> np.float32:
    """``function`` of this module for NumPy scalars, without NumPy's warnings."""
    with np.errstate(all="ignore"):
        return cast(np.float32, function(*(np.float32(number) for number in numbers)))
