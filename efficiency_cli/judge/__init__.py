"""Verdicts on estimates: budgets, baselines, differences, comparisons. Pure functions of what was estimated."""
