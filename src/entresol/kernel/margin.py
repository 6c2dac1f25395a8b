"""Standard margin: what an account is worth, what it must keep, and whether an order may pass.

Equity = cash + sum of quantity * mark_value (which is 0 for options, paid for in cash).
Requirement of one instrument with `quantity` q and open lots b (bids) and a (asks):
    initial     = max((q + b) * initial_long, (a - q) * initial_short, 0) + open_reserve
    maintenance = max(q * maintenance_long, -q * maintenance_short, 0)
For an option the long rates are 0, so bids cost their reserve (the premium) and nothing else.
Prices may be stale here: trading in an instrument needs fresh ones, being measured does not.
"""

from typing import Any, Final

from entresol.kernel import layout
from entresol.kernel.fixed_point import larger
from entresol.kernel.layout import DURABLE_BASE
from entresol.kernel.subset import i64, kernel_function
from entresol.kernel.views import durable_at

_ACCOUNT_MASK: Final = layout.ACCOUNTS - 1
_POSITION_MASK: Final = layout.POSITIONS - 1
_INSTRUMENT_MASK: Final = layout.INSTRUMENTS - 1


@kernel_function
def position_requirement(risk: Any, quantity: int, open_buy: int, open_sell: int) -> int:
    """Initial requirement of one instrument without its reserve, whichever orders fill."""
    long = (quantity + open_buy) * i64(risk.initial_long)
    short = (open_sell - quantity) * i64(risk.initial_short)
    return larger(larger(long, short), i64(0))


@kernel_function
def position_maintenance(risk: Any, quantity: int) -> int:
    """Maintenance requirement of `quantity` lots of one instrument; orders do not count."""
    if quantity >= 0:
        return quantity * i64(risk.maintenance_long)
    return -quantity * i64(risk.maintenance_short)


@kernel_function
def initial_slack(durable: Any, account: int) -> int:
    """Equity less the initial requirement: what new orders may use."""
    holder = account & _ACCOUNT_MASK
    slack = i64(durable.account[holder].cash)
    for index in range(i64(durable.account[holder].position_count)):
        position = durable.position[holder, index & _POSITION_MASK]
        risk = durable.risk[i64(position.instrument) & _INSTRUMENT_MASK]
        quantity = i64(position.quantity)
        slack += quantity * i64(risk.mark_value) - i64(position.open_reserve)
        slack -= position_requirement(
            risk, quantity, i64(position.open_buy), i64(position.open_sell)
        )
    return slack


@kernel_function
def maintenance_slack(durable: Any, account: int) -> int:
    """Equity less every reserve and the maintenance requirement: what closing orders may use."""
    holder = account & _ACCOUNT_MASK
    slack = i64(durable.account[holder].cash)
    for index in range(i64(durable.account[holder].position_count)):
        position = durable.position[holder, index & _POSITION_MASK]
        risk = durable.risk[i64(position.instrument) & _INSTRUMENT_MASK]
        quantity = i64(position.quantity)
        slack += quantity * i64(risk.mark_value) - i64(position.open_reserve)
        slack -= position_maintenance(risk, quantity)
    return slack


@kernel_function
def margin_balance(memory: int, account: int) -> int:
    """Equity in micro-collateral: cash and what perpetual positions are worth at their marks."""
    durable = durable_at(memory + DURABLE_BASE)
    holder = account & _ACCOUNT_MASK
    equity = i64(durable.account[holder].cash)
    for index in range(i64(durable.account[holder].position_count)):
        position = durable.position[holder, index & _POSITION_MASK]
        risk = durable.risk[i64(position.instrument) & _INSTRUMENT_MASK]
        equity += i64(position.quantity) * i64(risk.mark_value)
    return equity


@kernel_function
def initial_requirement(memory: int, account: int) -> int:
    """Initial requirement in micro-collateral, open orders and their reserves included."""
    return margin_balance(memory, account) - initial_slack(
        durable_at(memory + DURABLE_BASE), account
    )


@kernel_function
def maintenance_requirement(memory: int, account: int) -> int:
    """Maintenance requirement in micro-collateral of what the account holds."""
    durable = durable_at(memory + DURABLE_BASE)
    holder = account & _ACCOUNT_MASK
    requirement = i64(0)
    for index in range(i64(durable.account[holder].position_count)):
        position = durable.position[holder, index & _POSITION_MASK]
        risk = durable.risk[i64(position.instrument) & _INSTRUMENT_MASK]
        requirement += position_maintenance(risk, i64(position.quantity))
    return requirement


@kernel_function
def withdrawable(memory: int, account: int) -> int:
    """Micro-collateral that may leave the account: equity above the initial requirement."""
    return larger(initial_slack(durable_at(memory + DURABLE_BASE), account), i64(0))


@kernel_function
def order_passes(
    durable: Any, account: int, number: int, index: int, side: int, lots: int, reserve: int,
    fee: int,
) -> bool:  # fmt: skip
    """True when an order of `lots` in instrument `number` may enter.

    `index` is the account's position there (negative: none), `reserve` what the order would
    lose when filled, `fee` the taker fee it could owe now (0 if it meets no order).  An order that
    does not raise the initial requirement passes if it owes no fee or only closes the position.
    Any other needs the equity for its rise and its fee.
    One that can only close the position is judged as if filled: equity less every reserve must
    carry the maintenance requirement of what is left, so that no loss-making close leaves a debt.
    """
    risk = durable.risk[number & _INSTRUMENT_MASK]
    quantity, open_buy, open_sell = i64(0), i64(0), i64(0)
    if index >= 0:
        position = durable.position[account & _ACCOUNT_MASK, index & _POSITION_MASK]
        quantity = i64(position.quantity)
        open_buy = i64(position.open_buy)
        open_sell = i64(position.open_sell)
    rise = reserve - position_requirement(risk, quantity, open_buy, open_sell)
    if side == layout.BUY:
        filled = quantity + lots
        closes = open_buy + lots <= -quantity
        rise += position_requirement(risk, quantity, open_buy + lots, open_sell)
    else:
        filled = quantity - lots
        closes = open_sell + lots <= quantity
        rise += position_requirement(risk, quantity, open_buy, open_sell + lots)
    # A fee counts like a rise unless the order only closes: whoever has no equity left could
    # otherwise turn a position over without end, for debts that pay its counterparty a rebate.
    if rise <= 0 and (closes or fee <= 0):
        return True
    if initial_slack(durable, account) >= rise + fee:
        return True
    if not closes:
        return False
    relief = position_maintenance(risk, quantity) - position_maintenance(risk, filled)
    return maintenance_slack(durable, account) + relief >= reserve + fee
