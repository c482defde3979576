"""What the lesson's texts claim rests on stored runs, and holds in all of them."""

import re
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "data" / "runs"))
import claims  # noqa: E402


@pytest.fixture(scope="module")
def runs():
    return claims.stored()


def test_the_table_is_that_of_the_stored_runs(runs):
    page, holds = claims.table(runs)
    assert page == (ROOT / "docs" / "claims.md").read_text(), "run `make claims` and commit docs/claims.md"
    assert holds


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_was_tried_with_five_seeds(claim, runs):
    assert {throw.seed for throw, _, _ in claims.tried(claim, runs)} == set(range(5))


def test_every_id_in_a_text_is_a_claims(solution):
    texts = [cell.source for cell in solution.cells]
    texts += [path.read_text() for path in [ROOT / "README.md", *ROOT.glob("data/*/README.md")]]
    named = {name for text in texts for name in re.findall(r"<!-- claim: ([\w-]+) -->", text)}
    known = {claim.id for claim in claims.CLAIMS}
    assert named and named <= known
    assert known - named == set(), "a claim that no text makes"


def test_the_three_rates_were_run_with_two_threads(runs):
    found = {(run["rate"], run["seed"]) for run in runs["runs"] if run["threads"] == 2}
    rates = claims.HIGH, claims.MIDDLE, claims.STANDARD
    assert found == {(rate, seed) for rate in rates for seed in range(5)}
