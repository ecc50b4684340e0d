"""Estimates and measurements side by side: tables of runs, which machine each ran on, and how far off we are."""
