#!/usr/bin/env python3
"""What formulas and reductions of numbers must give, by another arithmetic: Python's fractions and mpmath.

    python3 reference.py > vectors.txt                    writes the cases that `cargo test` checks
    python3 reference.py --exponentials > exponentials.txt    writes the floats nearest to e^-745, e^-744, …, e^709
    python3 reference.py --relay http://127.0.0.1:8080    tries random cases on a running relay that lends its processor
        [--rounds 20] [--seed 1]

Needs mpmath (`pip install mpmath`). A case is a line of four fields between tabs:

    map      formula   items   results, to the bit
    sum, product, min, max, average    formula   items   result
    nearest  formula   items   results, each the nearest float and how far the exact number lies above it, in thousandths of
                               a unit in the last place; what is computed must be the nearest, but next to a halfway point
    within   formula   items   the same; what is computed may be a unit in the last place away

An integer is written `i12`, a float by its bits, `f3ff0000000000000`, a truth value `b1`.
"""
import argparse, json, math, operator, random, struct, sys, time, urllib.request
from fractions import Fraction

import mpmath
from mpmath import mp, mpf

INT_MIN, INT_MAX = -(2**127), 2**127 - 1


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def from_bits(word):
    return struct.unpack("<d", struct.pack("<Q", word))[0]


def written(value):
    if isinstance(value, bool):
        return f"b{int(value)}"
    if isinstance(value, int):
        return f"i{value}"
    return f"f{0x7FF8000000000000 if math.isnan(value) else bits(value):016x}"


# ---- numbers to try -------------------------------------------------------------------------------------------------
EDGE_INTEGERS = [0, 1, -1, 2, -2, 3, 7, -7, 10, 2**31, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**54 + 2, 2**54 + 6]
EDGE_INTEGERS += [2**62, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 10**30, -(10**30) - 1, INT_MAX, INT_MIN]
EDGE_FLOATS = [0.0, -0.0, 0.1, -0.1, 0.3, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 0.49999999999999994, 3.0, -49.7, 5e-324, -5e-324]
EDGE_FLOATS += [2.2250738585072014e-308, 1e-300, 9007199254740992.0, 9007199254740994.0, -9007199254740992.0, 2.0**63]
EDGE_FLOATS += [2.0**64, 1e22, 1e23, -1e30, 2.0**126, -(2.0**127), 2.0**127, 1e300, 1.7976931348623157e308]


def an_integer(chance):
    if chance.random() < 0.3:
        return chance.choice(EDGE_INTEGERS)
    return chance.choice((1, -1)) * chance.getrandbits(chance.randint(1, 127))


def a_float(chance):
    kind = chance.random()
    if kind < 0.3:
        return chance.choice(EDGE_FLOATS)
    if kind < 0.5:
        return chance.randint(-1000, 1000) / 10
    if kind < 0.65:
        return float(an_integer(chance))
    if kind < 0.8:
        return chance.uniform(-1, 1) * 2.0 ** chance.randint(-70, 130)
    while True:
        value = from_bits(chance.getrandbits(64))
        if math.isfinite(value):
            return value


def a_number(chance):
    return an_integer(chance) if chance.random() < 0.5 else a_float(chance)


def literal(value):
    text = repr(value)
    return f"({text})" if text.startswith("-") else text


# ---- what operators mean --------------------------------------------------------------------------------------------
class Fails(Exception):
    """The job fails, with this code."""


def fits(value):
    if not INT_MIN <= value <= INT_MAX:
        raise Fails("integer_overflow")
    return value


def rounded(exact):
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def both_integers(a, b):
    return isinstance(a, int) and isinstance(b, int)


def simple(operation):
    return lambda a, b: fits(operation(a, b)) if both_integers(a, b) else operation(float(a), float(b))


def divide(a, b):
    if b == 0:
        raise Fails("division_by_zero")
    if both_integers(a, b):
        return rounded(Fraction(a, b)) if a else math.copysign(0.0, b)
    try:
        return float(a) / float(b)
    except OverflowError:
        return math.copysign(math.inf, float(a)) * math.copysign(1, float(b))


def floor_divide(a, b):
    if b == 0:
        raise Fails("division_by_zero")
    return fits(math.floor(Fraction(a) / Fraction(b)))


def remainder(a, b):
    if b == 0:
        raise Fails("division_by_zero")
    if both_integers(a, b):
        return a % b
    rest = Fraction(a) - math.floor(Fraction(a) / Fraction(b)) * Fraction(b)
    return rounded(rest) if rest else math.copysign(0.0, b)


def extreme(choose):
    def function(a, b):
        best = choose(Fraction(a), Fraction(b))
        if both_integers(a, b):
            return int(best)
        if best == 0:
            signs = [math.copysign(1, float(v)) for v in (a, b) if v == 0]
            return math.copysign(0.0, choose(signs))
        return rounded(best)

    return function


def power(a, b):
    """An integer to an integer that is not negative."""
    if abs(a) > 1 and b > 127:
        raise Fails("integer_overflow")
    return fits(a**b)


def to_integer(operation):
    return lambda a: a if isinstance(a, int) else fits(operation(Fraction(a)))


def away_from_zero(exact):
    size = math.floor(abs(exact) + Fraction(1, 2))
    return size if exact >= 0 else -size


def absolute(a):
    return fits(abs(a)) if isinstance(a, int) else abs(a)


OPERATORS = {
    "+": simple(operator.add), "-": simple(operator.sub), "*": simple(operator.mul), "/": divide,
    "//": floor_divide, "%": remainder,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}
TWO = {"min": extreme(min), "max": extreme(max)}
ONE = {
    "floor(x)": to_integer(math.floor), "ceil(x)": to_integer(math.ceil), "round(x)": to_integer(away_from_zero),
    "abs(x)": absolute, "-x": lambda a: fits(-a) if isinstance(a, int) else -a, "x * 1.0": float,
}


def reduced(reduce, items):
    if reduce in ("min", "max"):
        best = (min if reduce == "min" else max)(Fraction(v) for v in items)
        return next(v for v in items if Fraction(v) == best)
    floats = any(isinstance(v, float) for v in items)
    if reduce == "product":
        exact = math.prod(map(Fraction, items))
    else:
        exact = sum(map(Fraction, items))
    if reduce == "average":
        return rounded(exact / len(items))
    return rounded(exact) if floats else fits(int(exact))


# ---- functions that no float gives exactly --------------------------------------------------------------------------
FUNCTIONS = {
    "exp(x)": mpmath.exp, "ln(x)": mpmath.log, "log10(x)": lambda v: mpmath.log(v) / mpmath.log(10),
    "sqrt(x)": mpmath.sqrt, "sin(x)": mpmath.sin, "cos(x)": mpmath.cos, "tan(x)": mpmath.tan,
}
NEAREST = ("exp(x)", "ln(x)", "log10(x)", "sqrt(x)")


def near(exact):
    """The nearest float and, in thousandths of its last place, how far above it the exact number lies."""
    if exact == 0:
        return 0.0, 0
    sign, size = (-1, -exact) if exact < 0 else (1, exact)
    if size >= mpf(2) ** 1024 - mpf(2) ** 970:
        return sign * math.inf, 0
    unit = mpf(2) ** max(int(mpmath.floor(mpmath.log(size, 2))) - 52, -1074)
    steps = int(mpmath.nint(size / unit))
    nearest = float(mpf(steps) * unit)
    return sign * nearest, int(mpmath.nint(sign * (size - mpf(nearest)) / unit * 1000))


def function_argument(name, chance):
    kind = chance.random()
    if name == "exp(x)":
        if kind < 0.3:
            return float(chance.randint(-745, 709))
        return chance.uniform(-745.2, 709.8) if kind < 0.6 else chance.uniform(-1, 1) * 2.0 ** chance.randint(-60, 4)
    if name in ("ln(x)", "log10(x)", "sqrt(x)"):
        if kind < 0.3:
            return 1 + chance.uniform(-1, 1) * 2.0 ** chance.randint(-53, -1)
        return chance.uniform(0, 1000) if kind < 0.6 else abs(a_float(chance)) or 10.0
    return chance.uniform(-100, 100) if kind < 0.5 else chance.uniform(-1, 1) * 2.0 ** chance.randint(-40, 1023)


def power_case(chance):
    """A base and an exponent of floats."""
    kind = chance.random()
    if kind < 0.3:
        return chance.randint(1, 2**27) * 2.0 ** chance.randint(-30, 30), float(chance.randint(-6, 6))
    if kind < 0.5:
        return float(chance.randint(1, 1000)), chance.randint(-16, 16) / 2
    if kind < 0.8:
        return chance.uniform(0, 10), chance.uniform(-20, 20)
    base = chance.uniform(0.001, 1000)
    return base, chance.uniform(-745, 709) / math.log(base)


# ---- cases ----------------------------------------------------------------------------------------------------------
def some(chance, make, evaluate, count):
    """Items for which there is a result, and the results."""
    items, results = [], []
    for _ in range(20 * count):
        item = make(chance)
        try:
            result = evaluate(item)
        except Fails:
            continue
        if item not in items and len(items) < count:
            items.append(item)
            results.append(result)
    return items, results


def cases(chance, each, count):
    """(what, formula, items, results); `each` formulas of a kind, `count` items."""
    for name, function in OPERATORS.items():
        for i in range(each):
            other = an_integer(chance) if i % 2 else a_float(chance)
            make = a_number
            if name in ("<", "<=", ">", ">=", "==", "!="):
                # Next to the other, so that rounding would show.
                make = lambda chance: chance.choice((a_number(chance), int(other) + chance.randint(-1, 1), float(other)))
                make = lambda chance, make=make: max(min(make(chance), INT_MAX), INT_MIN)
            for formula, evaluate in (
                (f"x {name} {literal(other)}", lambda a: function(a, other)),
                (f"{literal(other)} {name} x", lambda a: function(other, a)),
            ):
                items, results = some(chance, make, evaluate, count)
                if items:
                    yield "map", formula, items, results
    for name, function in TWO.items():
        for i in range(each):
            other = an_integer(chance) if i % 2 else a_float(chance)
            items, results = some(chance, a_number, lambda a: function(a, other), count)
            yield "map", f"{name}(x, {literal(other)})", items, results
    for formula, function in ONE.items():
        for _ in range(each):
            yield ("map", formula) + some(chance, a_number, function, count)
    for _ in range(each):
        exponent = chance.randint(0, 12)
        make = lambda chance: chance.choice((1, -1)) * chance.getrandbits(max(1, 126 // max(exponent, 1)))
        yield ("map", f"x ** {exponent}") + some(chance, make, lambda a: power(a, exponent), count)
    for reduce in ("sum", "product", "min", "max", "average"):
        for _ in range(each):
            for _ in range(20):
                # No two of the same value: which of them a minimum is, says nothing about numbers.
                items = list({Fraction(v): v for v in (a_number(chance) for _ in range(count))}.values())
                items = items[: chance.randint(1, count)]
                if reduce == "product":
                    items = [v for v in items if v] or [1.5]
                try:
                    result = reduced(reduce, items)
                except Fails:
                    continue
                yield reduce, "x", items, [result]
                break
    for formula, function in FUNCTIONS.items():
        for _ in range(each):
            mp.prec = 1300
            items = [function_argument(formula, chance) for _ in range(count)]
            what = "nearest" if formula in NEAREST else "within"
            yield what, formula, items, [near(function(mpf(item))) for item in items]
    mp.prec = 400
    for _ in range(4 * each):
        base, exponent = power_case(chance)
        bases = [base] + [power_case(chance)[0] for _ in range(3)]
        yield "nearest", f"x ** {literal(exponent)}", bases, [near(mpmath.power(mpf(b), mpf(exponent))) for b in bases]
    for _ in range(each):
        exponent = chance.randint(1, 9)
        items = [chance.choice((1, -1)) * (chance.getrandbits(chance.randint(1, 127)) or 3) for _ in range(count)]
        yield "nearest", f"x ** -{exponent}", items, [near(mpf(b) ** -exponent) for b in items]


def lines(chance, each, count):
    for what, formula, items, results in cases(chance, each, count):
        if what in ("nearest", "within"):
            shown = " ".join(f"{written(value)}:{offset}" for value, offset in results)
        else:
            shown = " ".join(map(written, results))
        yield f"{what}\t{formula}\t{' '.join(map(repr, items))}\t{shown}"


# ---- a running relay ------------------------------------------------------------------------------------------------
def ask(relay, what, formula, items):
    job = {"kind": "map", "data": items, "map": formula}
    if what in ("sum", "product", "min", "max", "average"):
        job = {"kind": "map_reduce", "data": items, "map": formula, "reduce": what}

    def call(method, path, body=None):
        request = urllib.request.Request(relay + path, body, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    name = call("POST", "/api/v1/jobs", json.dumps(job).encode())["id"]
    try:
        while True:
            state = call("GET", f"/api/v1/jobs/{name}")
            if state["state"] == "completed":
                result = call("GET", f"/api/v1/jobs/{name}/result")["result"]
                return [number(value) for value in (result if isinstance(result, list) else [result])]
            if state["state"] in ("failed", "cancelled", "expired"):
                return [state.get("error")]
            time.sleep(0.01)
    finally:
        call("DELETE", f"/api/v1/jobs/{name}")


def number(value):
    if isinstance(value, str):
        return float(value) if value in ("NaN", "Infinity", "-Infinity") else int(value)
    return value


def right(what, got, want):
    if what not in ("nearest", "within"):
        return type(got) is type(want) and written(got) == written(want)
    nearest, offset = want
    if not isinstance(got, float):
        return False
    if math.isinf(nearest) or math.isinf(got):
        return got == nearest
    unit = lambda value: bits(abs(value)) if value >= 0 else -bits(abs(value))
    return abs((unit(got) - unit(nearest)) * 1000 - offset) <= (501 if what == "nearest" else 1000)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--relay")
    parser.add_argument("--exponentials", action="store_true")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    chance = random.Random(words.seed)
    if words.exponentials:
        mp.prec = 400
        for exponent in range(-745, 710):
            print(written(near(mpmath.exp(exponent))[0])[1:])
        return
    if not words.relay:
        for line in lines(chance, 4, 12):
            print(line)
        return
    wrong = tried = 0
    for _ in range(words.rounds):
        for what, formula, items, results in cases(chance, 3, 40):
            got = ask(words.relay.rstrip("/"), what, formula, items)
            tried += len(results)
            if len(got) != len(results):
                wrong += 1
                print(f"{what} {formula} of {items}: {got}")
                continue
            for item, mine, theirs in zip(items, got, results):
                if not right(what, mine, theirs):
                    wrong += 1
                    print(f"{what} {formula} of {item!r}: {mine!r}, not {theirs!r}")
    print(f"{tried} results, {wrong} wrong")
    sys.exit(wrong > 0)


main()
