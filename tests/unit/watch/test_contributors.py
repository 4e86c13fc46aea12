"""Contributors: whoever uses much is listed, nobody is charged with more than he used, memory is bounded."""

from collections import Counter
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.watch.contributors import MOST, Causes, Contributor, top

uses = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 1_000)), max_size=200)


def caused(told: list[tuple[int, int]]) -> Causes:
    causes = Causes()
    for value, amount in told:
        causes.add(Decimal(amount), [{"dimension": "user", "value": f"u{value}", "amount": Decimal(amount)}])
    return causes


def truth(told: list[tuple[int, int]]) -> Counter[str]:
    found = Counter[str]()
    for value, amount in told:
        found[f"u{value}"] += amount
    return found


@settings(max_examples=150, deadline=None)
@given(uses, st.integers(0, 200))
def test_the_stated_error_holds(told: list[tuple[int, int]], cut: int) -> None:
    whole, spent = caused(told[:cut]).join(caused(told[cut:])), truth(told)

    for causes in (caused(told), whole):
        found = causes.tops["user"] if told else None
        if found is None:
            continue
        assert len(found.amounts) <= MOST
        assert causes.total == sum(spent.values())
        for value, amount in found.amounts.items():
            assert amount - found.errors.get(value, 0) <= spent[value] <= amount
    if told:
        listed = caused(told).tops["user"].amounts
        assert all(value in listed for value, amount in spent.items() if amount * MOST > sum(spent.values()))


@given(st.lists(st.tuples(st.integers(0, MOST - 1), st.integers(1, 100)), max_size=50))
def test_few_values_are_counted_exactly(told: list[tuple[int, int]]) -> None:
    found = dict(caused(told).tops["user"].sure()) if told else {}

    assert found == truth(told)


def test_the_largest_come_first_in_the_order_of_the_dimensions_that_people_gave() -> None:
    causes = Causes()
    for model, user, amount in (("m1", "a", 6), ("m2", "a", 3), ("m1", "b", 1)):
        named = [{"dimension": "model", "value": model, "amount": Decimal(amount)}]
        causes.add(Decimal(amount), [*named, {"dimension": "user", "value": user, "amount": Decimal(amount)}])

    assert top(causes, ("user", "model", "team"), 1) == [
        Contributor("user", "a", Decimal(9), Decimal("0.9")),
        Contributor("model", "m1", Decimal(7), Decimal("0.7")),
    ]
    assert top(None, ("user",)) == []


def test_a_correction_takes_off_what_is_listed() -> None:
    causes = caused([(1, 10), (2, 5)])
    causes.add(Decimal(-10), [{"dimension": "user", "value": "u1", "amount": Decimal(-10)}])
    causes.add(Decimal(-1), [{"dimension": "user", "value": "nobody", "amount": Decimal(-1)}])

    assert causes.tops["user"].amounts == {"u2": 5}
    assert causes.total == 4
