"""Budgets: what is counted, when it is enough, and which price is whose."""

from __future__ import annotations

import pytest

from bedrock_nb.errors import RequestError
from bedrock_nb.events import Metadata
from bedrock_nb.experiment.budget import Budget, Spent
from tests.recordings import recorded

LITE, PRO = "us.amazon.nova-lite-v1:0", "us.amazon.nova-pro-v1:0"


def reply(model, **usage):
    """A reply that says what it used."""
    found = recorded((Metadata(usage, {}), 0.5))
    found.request["modelId"] = model
    return found


def test_tokens_and_cost_add_up():
    """All four parts count; each model has its price, and each part of its usage."""
    prices = {"nova_lite": (1, 2), "nova_pro": (10, 20, 1, 12)}
    spent = Spent(Budget(tokens=100, cost=1, prices=prices))
    used = {"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 1}
    spent.add(reply(LITE, **used))
    assert (spent.tokens, spent.cost) == (20, pytest.approx((10 + 5 * 2 + 4 + 1) / 1e6))
    spent.add(reply(PRO, **used))
    assert spent.cost == pytest.approx((25 + 100 + 100 + 4 + 12) / 1e6)
    spent.add(reply(PRO, inputTokens="many"))
    assert (spent.tokens, spent.over()) == (40, None)
    spent.add_counts(LITE, [60, 0, 0, 0])
    assert spent.over() == "100 tokens"


@pytest.mark.parametrize(
    ("budget", "tokens", "seconds", "reason"),
    [
        (Budget(), 10**9, 1e9, None),
        (Budget(tokens=10_000), 9_999, 0, None),
        (Budget(tokens=10_000), 10_000, 0, "10,000 tokens"),
        (Budget(seconds=60), 0, 59, None),
        (Budget(seconds=60), 0, 60, "60 s"),
        (Budget(cost=0.5, prices={LITE: (1, 1)}), 499_999, 0, None),
        (Budget(cost=0.5, prices={LITE: (1, 1)}), 500_000, 0, "0.5 USD"),
    ],
)
def test_a_limit_is_reached(budget, tokens, seconds, reason):
    """When what was used is as much, and not before; the reason says which."""
    now = 100.0
    spent = Spent(budget, lambda: now)
    now += seconds
    spent.add_counts(LITE, [tokens, 0, 0, 0])
    assert spent.over() == reason


def test_a_price_is_found_by_any_name_of_a_model():
    """Its id, its inference profile, a short name, with a fault behind; its own id comes first."""
    budget = Budget(prices={"amazon.nova-lite-v1:0": (1, 2), "nova_pro": (3, 4, 5), LITE: (6, 7)})
    assert budget.price(LITE) == budget.price(f"{LITE}@end:after=1") == (6, 7, 6, 6)
    assert budget.price("eu.amazon.nova-lite-v1:0") == (1, 2, 1, 1)
    assert budget.price(PRO) == budget.price("amazon.nova-pro-v1:0") == (3, 4, 5, 3)
    assert budget.price("embedded.ngram") is None


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"tokens": 0}, "tokens is 0"),
        ({"seconds": True}, "seconds is True"),
        ({"cost": 1}, "a limit of cost, and no prices"),
        ({"prices": [1, 2]}, "prices are of type list"),
        ({"prices": {"nova_lite": 3}}, "The price of 'nova_lite' is 3"),
        ({"prices": {"nova_lite": (1, -1)}}, "two to four numbers"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(given, match):
    """The message says what is wanted."""
    with pytest.raises(RequestError, match=match):
        Budget(**given)


def test_a_model_without_a_price_is_named():
    """Before anything is asked, and only if money is limited."""
    Budget(tokens=5).check([LITE])
    with pytest.raises(RequestError, match=r"no price of .*nova-pro"):
        Budget(cost=1, prices={"nova_lite": (1, 2)}).check([LITE, PRO])
