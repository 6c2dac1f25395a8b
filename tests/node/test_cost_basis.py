"""Average price and realised profit: known cases, and nothing lost over any run of fills."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from entresol.node.cost_basis import CostBasis

FILLS = st.lists(
    st.tuples(st.integers(-1000, 1000).filter(bool), st.integers(0, 10**12)), max_size=30
)


def after(*fills: tuple[int, int]) -> CostBasis:
    basis = CostBasis()
    for lots, value in fills:
        basis = basis.after(lots, value)
    return basis


def test_buying_twice_averages() -> None:
    basis = after((2, 100), (2, 200))
    assert basis == CostBasis(4, 600, 0)
    assert basis.average_price(1_000_000) == Decimal("0.00015")


def test_selling_part_keeps_the_average_and_realises_the_rest() -> None:
    assert after((4, 150), (-1, 250)) == CostBasis(3, 450, 100)


def test_a_short_earns_when_bought_back_cheaper() -> None:
    basis = after((-4, 150))
    assert basis == CostBasis(-4, -600, 0)
    assert basis.average_price(1_000_000) == Decimal("0.00015")
    assert basis.after(1, 100) == CostBasis(-3, -450, 50)


def test_a_fill_through_zero_closes_and_opens_at_its_own_price() -> None:
    assert after((2, 100), (-5, 130)) == CostBasis(-3, -390, 60)
    assert after((-2, 100), (5, 130)) == CostBasis(3, 390, -60)


def test_an_indivisible_share_stays_with_the_holding() -> None:
    basis = after((1, 100), (2, 101))
    assert basis.cost == 302
    assert basis.after(-1, 100) == CostBasis(2, 202, 0)


def test_no_holding_has_no_average() -> None:
    assert after((2, 100), (-2, 110)) == CostBasis(0, 0, 20)
    assert after((2, 100), (-2, 110)).average_price(1000) is None


@given(FILLS)
def test_realised_minus_cost_is_the_cash_that_moved(fills: list[tuple[int, int]]) -> None:
    basis = after(*fills)
    assert basis.quantity == sum(lots for lots, _ in fills)
    assert basis.realised - basis.cost == -sum(lots * value for lots, value in fills)
    if not basis.quantity:
        assert basis.cost == 0


@given(FILLS)
def test_the_mirrored_run_is_the_mirror_image(fills: list[tuple[int, int]]) -> None:
    """The buyer's book against the seller's: same sizes, opposite signs."""
    ours, theirs = after(*fills), after(*((-lots, value) for lots, value in fills))
    assert (theirs.quantity, theirs.cost, theirs.realised) == (
        -ours.quantity,
        -ours.cost,
        -ours.realised,
    )


@given(FILLS)
def test_the_average_lies_between_the_prices_paid(fills: list[tuple[int, int]]) -> None:
    buys = [(abs(lots), value) for lots, value in fills]
    basis = after(*buys)
    average = basis.average_price(1_000_000)
    if average is not None:
        values = [Decimal(value) / 10**6 for _, value in buys]
        assert min(values) <= average <= max(values)
