"""Tests of the families of tasks and of gymnasium in both directions."""
